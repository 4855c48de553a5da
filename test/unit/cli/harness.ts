/** The CLI in this process, against the real API over a real etcd. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import type { Runtime } from '../../../cli/kit.js';
import { run } from '../../../cli/run.js';
import { type ApiServer, listen } from '../../../node-agent/api/server.js';
import { TestEtcd } from '../../setup/etcd.js';
import { ADMIN, type Fixture, startFixture } from '../api/fixture.js';

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class CliHarness {
  readonly api: Fixture;
  /** The home of the user; removed by `close`. */
  readonly directory = mkdtempSync(join(tmpdir(), 'cli-'));
  readonly env: Record<string, string>;
  readonly #server: ApiServer;

  private constructor(api: Fixture, server: ApiServer) {
    this.api = api;
    this.#server = server;
    this.env = {
      HOME: this.directory,
      PATH: process.env.PATH ?? '',
      STORAGEOS_ENDPOINTS: this.endpoint,
      STORAGEOS_PASSWORD: ADMIN.password,
    };
  }

  static async start(etcd: TestEtcd): Promise<CliHarness> {
    const api = await startFixture(etcd);
    return new CliHarness(api, await listen(api.app, { host: '127.0.0.1', port: 0 }));
  }

  get endpoint(): string {
    return `127.0.0.1:${this.#server.address.port}`;
  }

  readonly cli = (...args: string[]): Promise<Outcome> => this.with({}, ...args);

  /** With a terminal, or with answers to questions. */
  async with(
    terminal: { colours?: boolean; interactive?: boolean; askSecretly?: NonNullable<Runtime['askSecretly']> },
    ...args: string[]
  ): Promise<Outcome> {
    const { askSecretly, ...display } = terminal;
    let [out, err] = ['', ''];
    const streams = {
      ...display,
      out: (text: string) => {
        out += text;
      },
      err: (text: string) => {
        err += text;
      },
    };
    const code = await run(args, { env: this.env, streams, ...(askSecretly !== undefined && { askSecretly }) });
    return { code, out, err };
  }

  /** What a command that succeeds prints as JSON. */
  readonly json = async (...args: string[]) => {
    const { code, out, err } = await this.cli(...args, '-o', 'json');
    expect([code, err]).toEqual([0, '']);
    return JSON.parse(out);
  };

  async close(): Promise<void> {
    await this.#server.close();
    this.api.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Each test of the file has a cluster of its own, over an etcd that all of them share: `use` is told of it before. */
export function freshHarness(use: (harness: CliHarness) => void): void {
  let etcd: TestEtcd | undefined;
  let harness: CliHarness | undefined;
  beforeAll(async () => {
    etcd = await TestEtcd.start();
  });
  beforeEach(async () => {
    harness = await CliHarness.start(etcd!);
    use(harness);
  });
  afterEach(() => harness?.close());
  afterAll(() => etcd?.destroy());
}
