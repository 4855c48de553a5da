import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RecentLines } from '../../../node-agent/diagnostics/recent-lines.js';
import { type AgentLog, createLog, formatLine, type LogSettings } from '../../../node-agent/log.js';
import { type ClusterLog, LogFollower } from '../../../node-agent/log-follower.js';
import { withContext } from '../../../node-agent/operation-context.js';

const messages = (recent: RecentLines) =>
  recent
    .text()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('the log', () => {
  let recent: RecentLines;
  let log: AgentLog;

  beforeEach(() => {
    recent = new RecentLines();
    log = createLog({ level: 'info', node: 'node-1', recent });
  });

  afterEach(() => {
    log.configure({ level: 'silent', format: 'json' });
  });

  it('changes its level in loggers that were made before, and in those that are made later', () => {
    const child = log.logger.child({ volume: 'v' });
    const grandchild = child.child({ deployment: 'd' });
    const said = () => messages(recent).map(({ msg }) => msg);
    for (const logger of [log.logger, child, grandchild]) logger.debug('too early');
    expect(said()).toEqual([]);
    log.configure({ level: 'debug', format: 'json' });
    for (const [i, logger] of [log.logger, child, grandchild, child.child({})].entries()) logger.debug(`line ${i}`);
    expect(said()).toEqual(['line 0', 'line 1', 'line 2', 'line 3']);
    log.configure({ level: 'error', format: 'json' });
    grandchild.warn('too late');
    expect(said()).toHaveLength(4);
  });

  it('says for whom a line is written, across what is waited for', async () => {
    const logger = log.logger.child({ volume: 'v' });
    await withContext({ requestId: 'r', operation: 'volume/v/attach' }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      logger.warn('within');
    });
    logger.warn('outside');
    expect(messages(recent)).toMatchObject([
      { msg: 'within', requestId: 'r', operation: 'volume/v/attach', volume: 'v', node: 'node-1', level: 'warn' },
      { msg: 'outside' },
    ]);
    expect(messages(recent)[1]).not.toHaveProperty('requestId');
  });
});

describe('the form for people', () => {
  it.each([
    [
      { level: 'info', time: '2026-01-02T03:04:05.678Z', node: 'n1', volume: 'v', blocks: 3, msg: 'synced' },
      '2026-01-02T03:04:05.678Z INFO  [n1] synced volume=v blocks=3\n',
    ],
    [
      { level: 'warn', time: 't', node: 'n1', reason: 'no room left', of: { a: 1 }, msg: 'refused' },
      't WARN  [n1] refused reason="no room left" of={"a":1}\n',
    ],
    [
      { level: 'error', time: 't', node: 'n1', err: { type: 'E', message: 'm', stack: 'E: m\nat x' }, msg: 'failed' },
      't ERROR [n1] failed\n    E: m\n    at x\n',
    ],
  ])('of %j', (fields, expected) => {
    expect(formatLine(`${JSON.stringify(fields)}\n`)).toBe(expected);
  });

  it('of what is no JSON is itself', () => {
    expect(formatLine('a line\n')).toBe('a line\n');
  });

  it('is written where it is asked for, while what is remembered stays JSON', () => {
    const recent = new RecentLines();
    const log = createLog({ level: 'info', format: 'default', node: 'node-1', recent });
    log.logger.info({ volume: 'v' }, 'hello');
    expect(messages(recent)).toMatchObject([{ msg: 'hello', volume: 'v' }]);
  });
});

describe('the settings of the log', () => {
  const start: LogSettings = { level: 'info', format: 'json' };
  const cluster = (logLevel: ClusterLog['logLevel'], logFormat: ClusterLog['logFormat']) => ({ logLevel, logFormat });

  it.each<[string, Partial<LogSettings>, ClusterLog[], LogSettings[]]>([
    [
      "are the cluster's where the environment says nothing",
      {},
      [cluster('warn', 'default')],
      [{ level: 'warn', format: 'default' }],
    ],
    ["are the environment's at first", { level: 'info', format: 'json' }, [cluster('warn', 'default')], []],
    [
      "follow a change of the cluster's, each for itself",
      { level: 'info', format: 'json' },
      [cluster('warn', 'default'), cluster('debug', 'default'), cluster('debug', 'json')],
      [{ level: 'debug', format: 'json' }],
    ],
    ['do not change with what is no change', {}, [cluster('info', 'json'), cluster('info', 'json')], []],
  ])('%s', (_, given, seen, applied) => {
    const apply = vi.fn<(settings: LogSettings) => void>();
    const follower = new LogFollower(start, given, apply);
    for (const each of seen) follower.onCluster(each);
    expect(apply.mock.calls.map(([settings]) => settings)).toEqual(applied);
    expect(follower.settings).toEqual(applied.at(-1) ?? start);
  });
});
