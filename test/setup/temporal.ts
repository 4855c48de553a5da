/** A real Temporal server for one test file, in memory, on free ports of 127.0.0.1. */

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { SEARCH_ATTRIBUTES } from '../../workflows/search-attributes.js';

/** TEMPORAL_PATH, which the tests' set-up gives; without it, PATH and where Go puts programs. */
function temporalPath(): string {
  const folders = [...(process.env.PATH ?? '').split(delimiter), join(homedir(), 'go', 'bin')];
  const candidates = [process.env.TEMPORAL_PATH, ...folders.map((folder) => join(folder, 'temporal'))];
  const found = candidates.find((path) => path !== undefined && existsSync(path));
  if (found === undefined) throw new Error('no Temporal server found: set TEMPORAL_PATH');
  return found;
}

export interface TestTemporalOptions {
  /** Events of a history after which a workflow is told to continue as new; the server's own limit is 4,096. */
  readonly suggestContinueAsNewAt?: number;
  /** Like a server that nobody has prepared for this system. */
  readonly withoutSearchAttributes?: boolean;
}

export function startTestTemporal(options: TestTemporalOptions = {}): Promise<TestWorkflowEnvironment> {
  const settings = {
    // The server's own value is a limit of 20 tasks a second, 50 ms for each step of a workflow.
    'history.transferProcessorMaxPollRPS': 2000,
    'history.timerProcessorMaxPollRPS': 2000,
    ...(options.suggestContinueAsNewAt !== undefined && {
      'limit.historyCount.suggestContinueAsNew': options.suggestContinueAsNewAt,
    }),
  };
  return TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: temporalPath() },
      ip: '127.0.0.1',
      log: { format: 'pretty', level: 'never' },
      searchAttributes: options.withoutSearchAttributes === true ? [] : [...SEARCH_ATTRIBUTES],
      extraArgs: Object.entries(settings).flatMap(([name, value]) => ['--dynamic-config-value', `${name}=${value}`]),
    },
  });
}
