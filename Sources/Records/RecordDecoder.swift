/// Decodes one record's payload into the columns of a batch.
final class RecordDecoder {
  let schema: InputSchema
  init(schema: InputSchema) { self.schema = schema }
}
