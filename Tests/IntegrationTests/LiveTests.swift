import Testing
import TestSupport

/// The real worker on a real broker, judged by the checker. One scene at a time: the machine may be small.
@Suite(
  .serialized,
  .enabled(if: LocalBroker.isAvailable && WorkerProcess.program != nil, "needs noida-db and the millrace program"),
  .timeLimit(.minutes(10)))
enum LiveTests {}
