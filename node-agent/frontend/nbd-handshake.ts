import {
  HANDSHAKE_FIXED_NEWSTYLE,
  HANDSHAKE_NO_ZEROES,
  INFO,
  MAGIC_GREETING,
  MAGIC_OPTION,
  MAGIC_OPTION_REPLY,
  MAX_OPTION_BYTES,
  MAX_OPTIONS,
  MAX_REQUEST_BYTES,
  NbdProtocolError,
  OPT,
  OPTION_HEADER_BYTES,
  REP,
} from './nbd-protocol.js';

export interface NbdExport {
  /** The name under which clients may ask for it; the empty name means the same export. */
  readonly name: string;
  readonly sizeBytes: number;
  /** TRANSMISSION flags. */
  readonly flags: number;
  readonly preferredBlockBytes: number;
}

export type HandshakeState = 'negotiating' | 'transmission' | 'ended';

const EMPTY = Buffer.alloc(0);
const EXPORT_NAME_PADDING_BYTES = 124;

/**
 * The server's side of a fixed newstyle handshake for one export: bytes in, bytes out. The buffered input is
 * never more than one option and one chunk. Errors: NbdProtocolError.
 */
export class NbdHandshake {
  readonly #export: NbdExport;
  #input: Buffer = EMPTY;
  #output: Buffer[] = [];
  #clientFlags: number | undefined;
  #options = 0;
  #state: HandshakeState = 'negotiating';
  #structuredReplies = false;

  constructor(options: { export: NbdExport }) {
    this.#export = options.export;
    const flags = Buffer.alloc(2);
    flags.writeUInt16BE(HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES);
    this.#output.push(MAGIC_GREETING, MAGIC_OPTION, flags);
  }

  get state(): HandshakeState {
    return this.#state;
  }

  get structuredReplies(): boolean {
    return this.#structuredReplies;
  }

  /** What is to be sent now. */
  takeOutput(): Buffer[] {
    const output = this.#output;
    this.#output = [];
    return output;
  }

  /** Bytes behind the end of the handshake. */
  takeRest(): Buffer {
    const rest = this.#input;
    this.#input = EMPTY;
    return rest;
  }

  feed(chunk: Buffer): void {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
    if (this.#clientFlags === undefined && this.#input.length >= 4) {
      const flags = this.#take(4).readUInt32BE();
      if ((flags & ~(HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES)) !== 0) {
        throw new NbdProtocolError(`unknown client flags 0x${flags.toString(16)}`);
      }
      this.#clientFlags = flags;
    }
    while (this.#clientFlags !== undefined && this.#state === 'negotiating' && this.#nextOption());
  }

  #take(bytes: number): Buffer {
    const taken = this.#input.subarray(0, bytes);
    this.#input = this.#input.subarray(bytes);
    return taken;
  }

  /** Handles one option if it is there whole. */
  #nextOption(): boolean {
    if (this.#input.length < OPTION_HEADER_BYTES) return false;
    if (!this.#input.subarray(0, 8).equals(MAGIC_OPTION)) throw new NbdProtocolError('bad magic of an option');
    const length = this.#input.readUInt32BE(12);
    if (length > MAX_OPTION_BYTES) throw new NbdProtocolError(`an option of ${length} bytes`);
    if (this.#input.length < OPTION_HEADER_BYTES + length) return false;
    if (++this.#options > MAX_OPTIONS) throw new NbdProtocolError(`more than ${MAX_OPTIONS} options`);
    const option = this.#take(OPTION_HEADER_BYTES).readUInt32BE(8);
    this.#handle(option, this.#take(length));
    return true;
  }

  #handle(option: number, data: Buffer): void {
    switch (option) {
      case OPT.exportName:
        this.#exportName(data);
        return;
      case OPT.abort:
        this.#reply(option, REP.ack);
        this.#state = 'ended';
        return;
      case OPT.list:
        if (data.length !== 0) {
          this.#reply(option, REP.invalid);
          return;
        }
        this.#reply(option, REP.server, lengthPrefixed(this.#export.name));
        this.#reply(option, REP.ack);
        return;
      case OPT.structuredReply:
        if (data.length !== 0) {
          this.#reply(option, REP.invalid);
          return;
        }
        this.#structuredReplies = true;
        this.#reply(option, REP.ack);
        return;
      case OPT.info:
      case OPT.go:
        this.#info(option, data);
        return;
      default:
        this.#reply(option, REP.unsupported);
    }
  }

  #knows(name: string): boolean {
    return name === '' || name === this.#export.name;
  }

  /** The oldest way in: there is no reply but the export itself, or the end. */
  #exportName(data: Buffer): void {
    if (!this.#knows(data.toString('utf8'))) throw new NbdProtocolError('unknown export name');
    const noZeroes = ((this.#clientFlags ?? 0) & HANDSHAKE_NO_ZEROES) !== 0;
    const reply = Buffer.alloc(10 + (noZeroes ? 0 : EXPORT_NAME_PADDING_BYTES));
    reply.writeBigUInt64BE(BigInt(this.#export.sizeBytes));
    reply.writeUInt16BE(this.#export.flags, 8);
    this.#output.push(reply);
    this.#state = 'transmission';
  }

  #info(option: number, data: Buffer): void {
    const nameLength = data.length >= 6 ? data.readUInt32BE() : 0;
    const count = data.length >= 6 + nameLength ? data.readUInt16BE(4 + nameLength) : 0;
    if (data.length !== 6 + nameLength + 2 * count) {
      this.#reply(option, REP.invalid);
      return;
    }
    if (!this.#knows(data.toString('utf8', 4, 4 + nameLength))) {
      this.#reply(option, REP.unknown);
      return;
    }
    const asked = new Set<number>();
    for (let i = 0; i < count; i++) asked.add(data.readUInt16BE(6 + nameLength + 2 * i));

    const description = Buffer.alloc(12);
    description.writeUInt16BE(INFO.export);
    description.writeBigUInt64BE(BigInt(this.#export.sizeBytes), 2);
    description.writeUInt16BE(this.#export.flags, 10);
    this.#reply(option, REP.info, description);
    if (asked.has(INFO.name)) {
      const type = Buffer.alloc(2);
      type.writeUInt16BE(INFO.name);
      this.#reply(option, REP.info, Buffer.concat([type, Buffer.from(this.#export.name, 'utf8')]));
    }
    if (asked.has(INFO.blockSize)) {
      const sizes = Buffer.alloc(14);
      sizes.writeUInt16BE(INFO.blockSize);
      sizes.writeUInt32BE(1, 2);
      sizes.writeUInt32BE(this.#export.preferredBlockBytes, 6);
      sizes.writeUInt32BE(MAX_REQUEST_BYTES, 10);
      this.#reply(option, REP.info, sizes);
    }
    this.#reply(option, REP.ack);
    if (option === OPT.go) this.#state = 'transmission';
  }

  #reply(option: number, type: number, data: Buffer = EMPTY): void {
    const header = Buffer.alloc(20);
    MAGIC_OPTION_REPLY.copy(header);
    header.writeUInt32BE(option, 8);
    header.writeUInt32BE(type, 12);
    header.writeUInt32BE(data.length, 16);
    this.#output.push(header, data);
  }
}

function lengthPrefixed(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
