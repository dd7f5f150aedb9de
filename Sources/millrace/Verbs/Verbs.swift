extension CommandTable {
  /// What the program can do. A verb is here once it has a body; `Verb` shows how to add one.
  static let millrace = CommandTable(
    program: "millrace",
    summary: "scores Kafka streams with a model that learns from them, exactly once",
    globals: CommandTable.globals,
    verbs: [
      .run(body: run),
      .demo(body: demo),
      .check(body: check),
      .test(body: test),
      .replay(body: replay),
      .configShow(body: configShow),
      .configSchema(body: configSchema),
      .configFields(body: configFields),
      .controlRollback(body: controlRollback),
      .controlFreeze(body: controlFreeze),
      .controlUnfreeze(body: controlUnfreeze),
      .controlTag(body: controlTag),
      .controlStatus(body: controlStatus),
      .controlKeygen(body: controlKeygen),
      .topicsPlan(body: topicsPlan),
      .topicsApply(body: topicsApply),
      .topicsCheck(body: topicsCheck),
      .topicsRender(body: topicsRender),
      .completions(body: completions),
      .man(body: man),
      .help(body: help),
      .version(body: version),
    ],
    groups: [
      ("config", "Show, describe and explain the configuration."),
      ("control", "Command running workers, signed."),
      ("checkpoint", "Look into checkpoints, offline."),
      ("model", "Look at versions of the model."),
      ("topics", "Compare topics as declared with the cluster."),
    ])
}
