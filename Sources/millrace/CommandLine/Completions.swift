/// Completion scripts for shells, from the table alone.
enum Shell: String, CaseIterable {
  case bash, zsh, fish
}

struct Completions {
  let table: CommandTable

  func script(_ shell: Shell) -> String {
    switch shell {
    case .bash: bash()
    case .zsh: zsh()
    case .fish: fish()
    }
  }

  private func flags(_ path: [String]) -> [Flag] { (table.verb(path)?.flags ?? []) + table.globals }

  /// Shell words in single quotes.
  private func quoted(_ text: String) -> String { "'" + text.replacing("'", with: "'\\''") + "'" }

  /// A case that sets `verb` to the longest path typed so far; the words are those of `list`.
  private func verbLoop(_ loop: String) -> String {
    let known = table.paths.dropFirst().map { quoted($0.joined(separator: " ")) }
    return """
        local verb="" candidate i
        \(loop)
          candidate="${verb:+$verb }$word"
          case "$candidate" in
            \(known.joined(separator: "|"))) verb="$candidate" ;;
          esac
        done

      """
  }

  /// Cases `verb:flag)` for flags with values.
  private func valueCases(_ complete: (ValueForm) -> String) -> String {
    var out = ""
    for path in table.paths {
      for flag in table.verb(path)?.flags ?? [] {
        guard let form = flag.value else { continue }
        out += "    \(quoted("\(path.joined(separator: " ")):--\(flag.name)"))) \(complete(form)); return ;;\n"
      }
    }
    for flag in table.globals {
      guard let form = flag.value else { continue }
      out += "    *:--\(flag.name)) \(complete(form)); return ;;\n"
    }
    return out
  }

  private func bash() -> String {
    var out = """
      # bash completion for \(table.program)
      _\(table.program)() {
        local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" word choices=""
        COMPREPLY=()
      \(verbLoop("for ((i = 1; i < COMP_CWORD; i++)); do\n    word=\"${COMP_WORDS[i]}\""))
      """
    out += "  case \"$verb:$prev\" in\n"
    out += valueCases { form in
      form.words.isEmpty
        ? (form.completesFiles ? "COMPREPLY=($(compgen -f -- \"$cur\"))" : "COMPREPLY=()")
        : "COMPREPLY=($(compgen -W \(quoted(form.words.joined(separator: " "))) -- \"$cur\"))"
    }
    out += "  esac\n  case \"$verb\" in\n"
    for path in table.paths {
      let words =
        table.words(after: path).map(\.word)
        + (table.verb(path)?.arguments.flatMap(\.value.words) ?? [])
        + flags(path).flatMap { flag in ["--\(flag.name)"] + (flag.short.map { ["-\($0)"] } ?? []) }
      out += "    \(quoted(path.joined(separator: " ")))) choices=\(quoted(words.joined(separator: " "))) ;;\n"
    }
    out += """
        esac
        COMPREPLY=($(compgen -W "$choices" -- "$cur"))
      }
      complete -o default -F _\(table.program) \(table.program)

      """
    return out
  }

  private func zsh() -> String {
    var out = """
      #compdef \(table.program)
      _\(table.program)() {
        local word prev="${words[CURRENT-1]}"
        local -a verbs options
      \(verbLoop("for ((i = 2; i < CURRENT; i++)); do\n    word=\"${words[i]}\""))
      """
    out += "  case \"$verb:$prev\" in\n"
    out += valueCases { form in
      form.words.isEmpty
        ? (form.completesFiles ? "_files" : "_message \(quoted(form.placeholder))")
        : "compadd -- \(form.words.map(quoted).joined(separator: " "))"
    }
    out += "  esac\n  case \"$verb\" in\n"
    func described(_ word: String, _ doc: String) -> String {
      quoted("\(word.replacing(":", with: "\\:")):\(doc.replacing(":", with: "\\:"))")
    }
    for path in table.paths {
      let verbs =
        table.words(after: path).map { described($0.word, $0.summary) }
        + (table.verb(path)?.arguments.flatMap { argument in
          argument.value.words.map { described($0, argument.doc) }
        } ?? [])
      let options = flags(path).flatMap { flag in
        [described("--\(flag.name)", flag.doc)]
          + (flag.short.map { [described("-\($0)", flag.doc)] } ?? [])
      }
      out += "    \(quoted(path.joined(separator: " "))))\n"
      out += "      verbs=(\(verbs.joined(separator: " ")))\n"
      out += "      options=(\(options.joined(separator: " "))) ;;\n"
    }
    out += """
        esac
        (( ${#verbs} )) && _describe verb verbs
        if [[ "${words[CURRENT]}" == -* ]]; then _describe -o flag options; elif (( ! ${#verbs} )); then _files; fi
      }
      _\(table.program) "$@"

      """
    return out
  }

  private func fish() -> String {
    let program = table.program
    let known = table.paths.dropFirst().map { quoted($0.joined(separator: " ")) }
    var out = """
      # fish completion for \(program)
      function __\(program)_at
          set -l verb ''
          for word in (commandline -opc)[2..-1]
              set -l candidate (string trim -- "$verb $word")
              if contains -- "$candidate" \(known.joined(separator: " "))
                  set verb $candidate
              end
          end
          test "$verb" = "$argv[1]"
      end

      """
    func at(_ path: [String]) -> String {
      "-n \(quoted("__\(program)_at \"\(path.joined(separator: " "))\""))"
    }
    func line(_ flag: Flag, _ condition: String) -> String {
      var line = "complete -c \(program)\(condition.isEmpty ? "" : " " + condition) -l \(flag.name)"
      if let short = flag.short { line += " -s \(short)" }
      if let form = flag.value {
        if form.completesFiles { line += " -r -F" } else { line += " -x" }
        if !form.words.isEmpty { line += " -a \(quoted(form.words.joined(separator: " ")))" }
      }
      return line + " -d \(quoted(flag.doc))\n"
    }
    for flag in table.globals { out += line(flag, "") }
    for path in table.paths {
      for (word, summary) in table.words(after: path) {
        out += "complete -c \(program) \(at(path)) -f -a \(quoted(word)) -d \(quoted(summary))\n"
      }
      guard let verb = table.verb(path) else { continue }
      for argument in verb.arguments where !argument.value.words.isEmpty {
        out += "complete -c \(program) \(at(path)) -f -a \(quoted(argument.value.words.joined(separator: " "))) -d \(quoted(argument.doc))\n"
      }
      for flag in verb.flags { out += line(flag, at(path)) }
    }
    return out
  }
}
