/**
 * Clients of a volume whose blocks are registers: they read, write, trim and flush over several NBD connections at
 * random, record when they asked and when they were answered, and leave a history that can be checked.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { CMD_FLAG } from '../../node-agent/frontend/nbd-protocol.js';
import { NbdClient, NbdConnectionError, NbdRequestError } from '../setup/nbd-client.js';
import { History, type Operation } from '../sim/history.js';
import { BLOCK_BYTES, contentOf, writeIn } from './register-content.js';

const RECONNECT_MS = 50;
const MAX_BLOCKS_PER_REQUEST = 5;
const MAX_READS_UNDER_WAY = 100;
const MAX_PROBLEMS = 20;
/** Shares of what is asked for; the rest is reads. */
const FLUSHES = 0.04;
const WRITES = 0.5;
/** Of the writes. */
const TRIMS = 0.06;
const ZEROES = 0.06;
const FUA = 0.1;

export interface RegisterOptions {
  /** Registers, from the volume's first block on. */
  readonly blocks: number;
  /** NBD connections of a client. */
  readonly connections: number;
  /** Requests under way on a connection. */
  readonly depth: number;
  /** Between two requests of one of these, on average, milliseconds. */
  readonly pauseMs: number;
  /** Tells the contents of this history from others'. */
  readonly round: number;
  readonly random: () => number;
}

/** All blocks zero at first, and what all clients of the volume did with them since. */
export class Registers {
  readonly options: RegisterOptions;
  readonly history = new History(false);
  /** NBD errors that are the right answer to what was done to the volume. */
  readonly expectedErrors = new Set<number>();
  readonly #problems: string[] = [];
  #clients = 0;

  constructor(options: RegisterOptions) {
    this.options = options;
  }

  /** A client of the attachment whose number is `generation`: what a later one has got answers to ends the earlier one. */
  client(socketPath: string, generation: number): RegisterClient {
    return new RegisterClient(this, socketPath, ++this.#clients, generation);
  }

  /** What no history is needed to see. */
  report(problem: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(problem);
  }

  /** Everything that is wrong; empty if all clients have seen one disk. */
  problems(): string[] {
    return [...this.#problems, ...this.history.problems(this.options.blocks)];
  }

  /** Operations that were answered, by kind. */
  get answered(): Readonly<Record<Operation['kind'], number>> {
    const counts = { write: 0, read: 0, flush: 0 };
    for (const { kind, status } of this.history.operations) if (status === 'ok') counts[kind]++;
    return counts;
  }
}

type Request = Pick<Operation, 'kind' | 'first' | 'blocks' | 'zero' | 'fua'>;

export class RegisterClient {
  /** Rises when the frontend's process is another one: what the old one had under way is dropped with its session. */
  generation: number;
  /** An error is what it must get: it was detached, or its node cut off for ever. */
  mayFail = false;
  readonly #registers: Registers;
  readonly #socketPath: string;
  readonly #number: number;
  readonly #connections = new Set<NbdClient>();
  readonly #loops: Promise<void>[] = [];
  #running = true;
  #pending = 0;

  /** Through `Registers.client`. */
  constructor(registers: Registers, socketPath: string, number: number, generation: number) {
    this.#registers = registers;
    this.#socketPath = socketPath;
    this.#number = number;
    this.generation = generation;
  }

  /** Begins to ask at random. Connections that end are made anew. */
  start(): void {
    const { connections, depth } = this.#registers.options;
    const several = async (client: NbdClient): Promise<void> => {
      await Promise.all(Array.from({ length: depth }, () => this.#askOn(client)));
    };
    for (let i = 0; i < connections; i++) this.#loops.push(this.#connected(several));
    this.#loops.push(this.#connected((client) => this.#readOn(client)));
  }

  /** Asks for nothing more; resolves to how many requests had no answer within the time. */
  async stop(timeoutMs: number): Promise<number> {
    this.#running = false;
    const deadline = performance.now() + timeoutMs;
    while (this.#pending > 0 && performance.now() < deadline) await sleep(RECONNECT_MS);
    const unanswered = this.#pending;
    for (const connection of this.#connections) connection.destroy();
    await Promise.all(this.#loops);
    return unanswered;
  }

  /** Zeroes, in place of what an earlier history left; before the first client starts. */
  async clear(): Promise<void> {
    const client = await NbdClient.connect(this.#socketPath);
    await client.writeZeroes(0, this.#registers.options.blocks * BLOCK_BYTES);
    client.close();
  }

  /** Reads every block once. */
  async readAll(): Promise<void> {
    const client = await NbdClient.connect(this.#socketPath);
    const { blocks } = this.#registers.options;
    for (let first = 0; first < blocks; first += MAX_BLOCKS_PER_REQUEST) {
      const count = Math.min(MAX_BLOCKS_PER_REQUEST, blocks - first);
      await this.#ask(client, { kind: 'read', first, blocks: count, zero: false, fua: false });
    }
    client.close();
  }

  /** Keeps a connection, whose work ends when it does. */
  async #connected(work: (client: NbdClient) => Promise<void>): Promise<void> {
    while (this.#running) {
      const client = await NbdClient.connect(this.#socketPath).catch(() => undefined);
      if (client === undefined) {
        await sleep(RECONNECT_MS);
        continue;
      }
      this.#connections.add(client);
      await work(client);
      this.#connections.delete(client);
      client.close();
    }
  }

  /** One request after the other until the connection ends. */
  async #askOn(client: NbdClient): Promise<void> {
    const { random, pauseMs } = this.#registers.options;
    while (this.#running) {
      await sleep(random() * 2 * pauseMs);
      if (!this.#running || !(await this.#ask(client, this.#choose()))) return;
    }
  }

  /**
   * Reads without waiting for answers: a primary that must not serve any more would never be asked if all were waiting
   * for writes that it holds back.
   */
  async #readOn(client: NbdClient): Promise<void> {
    const { random, pauseMs } = this.#registers.options;
    let open = true;
    let waiting = 0;
    while (this.#running && open) {
      await sleep(random() * 2 * pauseMs);
      if (waiting === MAX_READS_UNDER_WAY) continue;
      waiting++;
      const read: Request = { kind: 'read', ...this.#range(), zero: false, fua: false };
      void this.#ask(client, read).then((goesOn) => {
        waiting--;
        open &&= goesOn;
      });
    }
  }

  #range(): Pick<Request, 'first' | 'blocks'> {
    const { random, blocks: all } = this.#registers.options;
    const blocks = random() < 0.7 ? 1 : 1 + Math.floor(random() * MAX_BLOCKS_PER_REQUEST);
    return { first: Math.floor(random() * (all - blocks + 1)), blocks };
  }

  #choose(): Request {
    const { random } = this.#registers.options;
    const range = this.#range();
    const choice = random();
    if (choice < FLUSHES) return { kind: 'flush', first: 0, blocks: 0, zero: false, fua: false };
    if (choice >= FLUSHES + WRITES) return { kind: 'read', ...range, zero: false, fua: false };
    return { kind: 'write', ...range, zero: random() < TRIMS + ZEROES, fua: random() < FUA };
  }

  /** Resolves to whether the connection goes on. */
  async #ask(client: NbdClient, request: Request): Promise<boolean> {
    const operation = this.#registers.history.begin({
      ...request,
      client: this.#number,
      generation: this.generation,
      invoked: performance.now(),
    });
    this.#pending++;
    try {
      await this.#perform(client, operation);
      operation.finished = performance.now();
      operation.status = 'ok';
      return true;
    } catch (error) {
      if (error instanceof NbdConnectionError) {
        operation.status = 'lost';
        return false;
      }
      if (!(error instanceof NbdRequestError)) throw error;
      operation.status = `error ${error.code}`;
      if (this.mayFail) return false;
      if (!this.#registers.expectedErrors.has(error.code)) {
        this.#registers.report(`${request.kind} ${operation.id} got NBD error ${error.code}`);
      }
      return true;
    } finally {
      this.#pending--;
    }
  }

  async #perform(client: NbdClient, operation: Operation): Promise<void> {
    const { random, round } = this.#registers.options;
    const [offset, bytes] = [operation.first * BLOCK_BYTES, operation.blocks * BLOCK_BYTES];
    switch (operation.kind) {
      case 'flush':
        return await client.flush();
      case 'read': {
        const content = await client.read(offset, bytes);
        for (let i = 0; i < operation.blocks; i++) {
          const block = operation.first + i;
          const found = writeIn(content.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), round, block);
          if (typeof found === 'string') this.#registers.report(`block ${block}: read ${operation.id} saw ${found}`);
          operation.seen.push(typeof found === 'number' ? found : 0);
        }
        return;
      }
      case 'write': {
        const data = contentOf(round, operation.id, operation.first, operation.blocks);
        if (!operation.zero) return await client.write(offset, data, operation.fua ? CMD_FLAG.fua : 0);
        if (random() < TRIMS / (TRIMS + ZEROES)) return await client.trim(offset, bytes);
        return await client.writeZeroes(offset, bytes, operation.fua ? CMD_FLAG.fua : 0);
      }
    }
  }
}
