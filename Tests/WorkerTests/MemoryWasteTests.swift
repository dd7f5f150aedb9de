import Testing

@testable import Worker

@Test func `free memory is given back where it is much, and more than what is used`() {
  let few = MemoryWaste.freeBytesMin - 1
  #expect(!MemoryWaste.isMuch(used: 0, free: few))
  #expect(MemoryWaste.isMuch(used: 1, free: few + 1))
  #expect(!MemoryWaste.isMuch(used: few + 1, free: few + 1))
  #expect(MemoryWaste.isMuch(used: few + 1, free: few + 2))
}
