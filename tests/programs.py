r"""Two tiny static programs in machine code, so that test images run and nothing is copied from the host.

Both do the same: write ``/etc/motd`` to standard output, and exit with the number that their last argument begins
with, with 0 if it begins otherwise, and with 1 if there is no ``/etc/motd``.

>>> hello("amd64")[:4]
b'\x7fELF'
"""

import struct

MOTD = b"/etc/motd\0"

_X86_64 = """
    48 8b 1c 24            # 00        mov   rbx, [rsp]            argc
    4c 8b 24 dc            # 04        mov   r12, [rsp+rbx*8]      argv[argc-1]
    48 8d 3d 62 00 00 00   # 08        lea   rdi, [rip+0x62]       -> 71: path
    31 f6                  # 0f        xor   esi, esi              O_RDONLY
    b8 02 00 00 00         # 11        mov   eax, 2                open
    0f 05                  # 16        syscall
    85 c0                  # 18        test  eax, eax
    78 49                  # 1a        js    fail
    41 89 c5               # 1c        mov   r13d, eax             its descriptor
    48 81 ec 00 10 00 00   # 1f        sub   rsp, 4096             the buffer
    44 89 ef               # 26 loop:  mov   edi, r13d
    48 89 e6               # 29        mov   rsi, rsp
    ba 00 10 00 00         # 2c        mov   edx, 4096
    31 c0                  # 31        xor   eax, eax              read
    0f 05                  # 33        syscall
    85 c0                  # 35        test  eax, eax
    7e 13                  # 37        jle   parse
    bf 01 00 00 00         # 39        mov   edi, 1                standard output
    48 89 e6               # 3e        mov   rsi, rsp
    89 c2                  # 41        mov   edx, eax
    b8 01 00 00 00         # 43        mov   eax, 1                write
    0f 05                  # 48        syscall
    eb da                  # 4a        jmp   loop
    31 ff                  # 4c parse: xor   edi, edi              the number so far
    41 0f b6 04 24         # 4e next:  movzx eax, byte [r12]
    83 e8 30               # 53        sub   eax, '0'
    83 f8 09               # 56        cmp   eax, 9
    77 0f                  # 59        ja    quit                  no digit
    6b ff 0a               # 5b        imul  edi, edi, 10
    01 c7                  # 5e        add   edi, eax
    49 ff c4               # 60        inc   r12
    eb e9                  # 63        jmp   next
    bf 01 00 00 00         # 65 fail:  mov   edi, 1
    b8 3c 00 00 00         # 6a quit:  mov   eax, 60               exit
    0f 05                  # 6f        syscall
"""

_ARM64 = """
    f94003f3   # 00        ldr   x19, [sp]              argc
    8b336ff4   # 04        add   x20, sp, x19, lsl #3
    f9400294   # 08        ldr   x20, [x20]             argv[argc-1]
    92800c60   # 0c        mov   x0, #-100              AT_FDCWD
    100003e1   # 10        adr   x1, path               -> 8c
    d2800002   # 14        mov   x2, #0                 O_RDONLY
    d2800708   # 18        mov   x8, #56                openat
    d4000001   # 1c        svc   #0
    37f80300   # 20        tbnz  w0, #31, fail
    2a0003f5   # 24        mov   w21, w0                its descriptor
    d14007ff   # 28        sub   sp, sp, #4096          the buffer
    2a1503e0   # 2c loop:  mov   w0, w21
    910003e1   # 30        mov   x1, sp
    d2820002   # 34        mov   x2, #4096
    d28007e8   # 38        mov   x8, #63                read
    d4000001   # 3c        svc   #0
    f100001f   # 40        cmp   x0, #0
    540000ed   # 44        b.le  parse
    aa0003e2   # 48        mov   x2, x0
    d2800020   # 4c        mov   x0, #1                 standard output
    910003e1   # 50        mov   x1, sp
    d2800808   # 54        mov   x8, #64                write
    d4000001   # 58        svc   #0
    17fffff4   # 5c        b     loop
    52800000   # 60 parse: mov   w0, #0                 the number so far
    52800142   # 64        mov   w2, #10
    38401681   # 68 next:  ldrb  w1, [x20], #1
    5100c021   # 6c        sub   w1, w1, #'0'
    7100243f   # 70        cmp   w1, #9
    54000088   # 74        b.hi  quit                   no digit
    1b020400   # 78        madd  w0, w0, w2, w1
    17fffffb   # 7c        b     next
    52800020   # 80 fail:  mov   w0, #1
    d2800ba8   # 84 quit:  mov   x8, #93                exit
    d4000001   # 88        svc   #0
"""

_BASE = 0x400000  # a multiple of every page size, also of arm64's 64 KiB
_PAGE = 0x10000
_HEADERS = 64 + 56
_EXECUTABLE, _LOAD, _READ_AND_EXECUTE = 2, 1, 5
_MACHINES = {"amd64": 62, "arm64": 183}


def code(architecture: str) -> bytes:
    """Return the instructions for ``amd64`` or ``arm64``, followed by the path that they open."""
    if architecture == "amd64":
        return b"".join(bytes.fromhex(line.partition("#")[0]) for line in _X86_64.splitlines()) + MOTD
    words = [int(line.split()[0], 16) for line in _ARM64.splitlines() if line]
    return struct.pack(f"<{len(words)}I", *words) + MOTD


def hello(architecture: str) -> bytes:
    """Return the program as a static ELF executable of one segment."""
    text = code(architecture)
    size = _HEADERS + len(text)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bits, little-endian, version 1
    entry = _BASE + _HEADERS
    file_header = struct.pack(
        "<HHIQQQIHHHHHH", _EXECUTABLE, _MACHINES[architecture], 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", _LOAD, _READ_AND_EXECUTE, 0, _BASE, _BASE, size, size, _PAGE)
    return identity + file_header + segment + text
