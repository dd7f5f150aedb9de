import Glibc
import Pipeline

let program = Program(table: .millrace, output: .process(), surroundings: .process())
exit(program.run(Array(CommandLine.arguments.dropFirst())).rawValue)
