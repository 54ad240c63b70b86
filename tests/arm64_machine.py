"""A machine for the few arm64 instructions that the test program uses, so that it can be run anywhere.

Decoded after the Arm Architecture Reference Manual (DDI 0487), section C4.1, and not from the program's comments.
An instruction that is not in the table is an error; so is a system call other than openat, read, write and exit.
"""

from collections.abc import Callable

CODE, STACK, TEXTS = 0x1000, 0x100_0000, 0x200_0000

_CWD = (1 << 64) - 100
_NOT_FOUND = (1 << 64) - 2
_SP = 31  # number 31 means the stack pointer in an address or a sum, and zero elsewhere


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


class Machine:
    """One process: registers, memory, the files that it can open, what it wrote, and how it ended."""

    def __init__(self, code: bytes, arguments: list[bytes], files: dict[bytes, bytes]) -> None:
        """Load ``code``, and put the number of arguments and their addresses on the stack."""
        self.memory: dict[int, int] = {}
        self.x = [0] * 32
        self.x[_SP] = STACK
        self.pc = CODE
        self.files = files
        self.unread = b""
        self.output = b""
        self.status: int | None = None
        self._comparison = (0, 0, 64)
        self.store(CODE, code)
        self.store(STACK, len(arguments).to_bytes(8, "little"))
        for index, argument in enumerate(arguments):
            self.store(TEXTS + 256 * index, argument + b"\0")
            self.store(STACK + 8 + 8 * index, (TEXTS + 256 * index).to_bytes(8, "little"))

    def run(self, limit: int = 10_000) -> int:
        """Execute until the process exits, and give its status."""
        for _ in range(limit):
            if self.status is not None:
                return self.status
            self.step()
        raise RuntimeError("the program does not end")

    def step(self) -> None:
        """Execute one instruction."""
        word = int.from_bytes(self.load(self.pc, 4), "little")
        for mask, value, instruction in _TABLE:
            if word & mask == value:
                self.pc += 4
                return instruction(self, word)
        raise RuntimeError(f"unknown instruction {word:08x} at {self.pc - CODE:#x}")

    def load(self, address: int, size: int) -> bytes:
        """Read memory."""
        return bytes(self.memory[address + offset] for offset in range(size))

    def store(self, address: int, data: bytes) -> None:
        """Write memory."""
        self.memory.update(enumerate(data, address))

    def get(self, register: int) -> int:
        """Read a register as data."""
        return 0 if register == _SP else self.x[register]

    def set(self, register: int, value: int, word: int = 1 << 31) -> None:
        """Write a register as data; bit 31 of the instruction says whether all its 64 bits count."""
        if register != _SP:
            self.x[register] = value & ((1 << (64 if word >> 31 else 32)) - 1)

    def jump(self, offset: int, bits: int) -> None:
        """Go on at a distance from this instruction, in words."""
        self.pc += 4 * _signed(offset & ((1 << bits) - 1), bits) - 4

    def svc(self, word: int) -> None:
        """System call."""
        del word
        number, first, second, third = self.x[8], *self.x[:3]
        if number == 56 and (first, third) == (_CWD, 0):
            name = b""
            while not name.endswith(b"\0"):
                name += self.load(second + len(name), 1)
            self.unread = self.files.get(name[:-1], b"")
            self.x[0] = 3 if name[:-1] in self.files else _NOT_FOUND
        elif number == 63 and first == 3:
            chunk, self.unread = self.unread[:third], self.unread[third:]
            self.store(second, chunk)
            self.x[0] = len(chunk)
        elif number == 64 and first == 1:
            self.output += self.load(second, third)
            self.x[0] = third
        elif number == 93:
            self.status = first & 0xFF
        else:
            raise RuntimeError(f"unexpected system call {number}({first:#x}, {second:#x}, {third:#x})")

    def ldr(self, word: int) -> None:
        """LDR Xt, [Xn, #imm]."""
        address = self.x[word >> 5 & 31] + (word >> 10 & 0xFFF) * 8
        self.set(word & 31, int.from_bytes(self.load(address, 8), "little"))

    def ldrb(self, word: int) -> None:
        """LDRB Wt, [Xn], #imm."""
        base = word >> 5 & 31
        self.set(word & 31, self.load(self.x[base], 1)[0])
        self.x[base] += _signed(word >> 12 & 0x1FF, 9)

    def movz(self, word: int) -> None:
        """MOVZ: move a number."""
        self.set(word & 31, (word >> 5 & 0xFFFF) << 16 * (word >> 21 & 3), word)

    def movn(self, word: int) -> None:
        """MOVN: move the complement of a number."""
        self.set(word & 31, ~((word >> 5 & 0xFFFF) << 16 * (word >> 21 & 3)), word)

    def mov(self, word: int) -> None:
        """ORR with zero: move a register."""
        self.set(word & 31, self.get(word >> 16 & 31), word)

    def adr(self, word: int) -> None:
        """ADR: address near this instruction."""
        self.set(word & 31, self.pc - 4 + _signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21))

    def add_extended(self, word: int) -> None:
        """ADD Xd, Xn, Xm, shifted; both ends may be the stack pointer."""
        self.x[word & 31] = self.x[word >> 5 & 31] + (self.get(word >> 16 & 31) << (word >> 10 & 7))

    def sub(self, word: int) -> None:
        """SUB or ADD #imm without flags; both ends may be the stack pointer."""
        amount = (word >> 10 & 0xFFF) << 12 * (word >> 22 & 1)
        value = self.x[word >> 5 & 31] + (-amount if word >> 30 & 1 else amount)
        self.x[word & 31] = value & ((1 << (64 if word >> 31 else 32)) - 1)

    def cmp(self, word: int) -> None:
        """SUBS with the result thrown away."""
        bits = 64 if word >> 31 else 32
        self._comparison = (self.x[word >> 5 & 31] & ((1 << bits) - 1), word >> 10 & 0xFFF, bits)

    def madd(self, word: int) -> None:
        """MADD Wd, Wn, Wm, Wa: Wa + Wn * Wm."""
        self.set(word & 31, self.get(word >> 10 & 31) + self.get(word >> 5 & 31) * self.get(word >> 16 & 31), word)

    def b(self, word: int) -> None:
        """Branch."""
        self.jump(word, 26)

    def b_le(self, word: int) -> None:
        """Branch if less or equal, signed."""
        left, right, bits = self._comparison
        if _signed(left, bits) <= right:
            self.jump(word >> 5, 19)

    def b_hi(self, word: int) -> None:
        """Branch if higher, unsigned."""
        left, right, _ = self._comparison
        if left > right:
            self.jump(word >> 5, 19)

    def tbnz(self, word: int) -> None:
        """Branch if one bit is set."""
        if self.get(word & 31) >> (word >> 31 << 5 | word >> 19 & 31) & 1:
            self.jump(word >> 5, 14)


_TABLE: list[tuple[int, int, Callable[[Machine, int], None]]] = [
    (0xFFFFFFFF, 0xD4000001, Machine.svc),
    (0xFFC00000, 0xF9400000, Machine.ldr),
    (0xFFE00C00, 0x38400400, Machine.ldrb),
    (0x7F800000, 0x52800000, Machine.movz),
    (0x7F800000, 0x12800000, Machine.movn),
    (0x7FE0FFE0, 0x2A0003E0, Machine.mov),
    (0x9F000000, 0x10000000, Machine.adr),
    (0xFFE0E000, 0x8B206000, Machine.add_extended),
    (0x3F800000, 0x11000000, Machine.sub),
    (0x7FC0001F, 0x7100001F, Machine.cmp),
    (0xFFE08000, 0x1B000000, Machine.madd),
    (0xFC000000, 0x14000000, Machine.b),
    (0xFF00001F, 0x5400000D, Machine.b_le),
    (0xFF00001F, 0x54000008, Machine.b_hi),
    (0x7F000000, 0x37000000, Machine.tbnz),
]
