/** What many rounds come to. */

import type { Run } from '../setup/run-record.js';
import type { RoundResult } from './round.js';

interface Row {
  rounds: number;
  failures: number;
  longestRecoverySeconds: number;
}

export class Tally {
  readonly #began = performance.now();
  readonly #rows = new Map<string, Row>();
  #writes = 0;
  #reads = 0;
  #flushes = 0;
  #fioRuns = 0;

  static line(result: RoundResult): string {
    const { seed, schedule, seconds, recoverySeconds, writes, reads, flushes, notes, problems } = result;
    const outcome = problems.length === 0 ? 'ok' : `${problems.length} PROBLEMS`;
    const times = `${seconds.toFixed(0)} s, in sync after ${recoverySeconds.toFixed(1)} s`;
    return `${seed} ${schedule} (${notes.join('; ')}): ${times}, ${writes + reads + flushes} operations: ${outcome}`;
  }

  add(result: RoundResult): void {
    const row = this.#rows.get(result.schedule) ?? { rounds: 0, failures: 0, longestRecoverySeconds: 0 };
    row.rounds++;
    if (result.problems.length > 0) row.failures++;
    row.longestRecoverySeconds = Math.max(row.longestRecoverySeconds, result.recoverySeconds);
    this.#rows.set(result.schedule, row);
    this.#writes += result.writes;
    this.#reads += result.reads;
    this.#flushes += result.flushes;
    this.#fioRuns += result.fioRuns;
  }

  get rounds(): number {
    return [...this.#rows.values()].reduce((sum, { rounds }) => sum + rounds, 0);
  }

  get failures(): number {
    return [...this.#rows.values()].reduce((sum, { failures }) => sum + failures, 0);
  }

  get #seconds(): number {
    return (performance.now() - this.#began) / 1000;
  }

  summary(): string {
    const rows = [...this.#rows].map(
      ([schedule, { rounds, failures, longestRecoverySeconds }]) =>
        `  ${schedule.padEnd(40)} ${rounds} rounds, ${failures} failed, in sync after ${longestRecoverySeconds.toFixed(1)} s at most`,
    );
    return [
      ...rows,
      `${this.rounds} rounds in ${(this.#seconds / 60).toFixed(1)} minutes, ${this.failures} failed`,
      `  registers: ${this.#writes} writes, ${this.#reads} reads, ${this.#flushes} flushes answered and checked`,
      `  fio: ${this.#fioRuns} times written and verified`,
    ].join('\n');
  }

  run(command: string): Run {
    return {
      kind: 'faults',
      command,
      seconds: Math.round(this.#seconds),
      counts: {
        rounds: this.rounds,
        writes: this.#writes,
        reads: this.#reads,
        flushes: this.#flushes,
        fioRuns: this.#fioRuns,
      },
      failures: this.failures,
      table: {
        title: 'Schedules of faults on real processes',
        columns: ['schedule', 'rounds', 'failed', 'all in sync after, seconds at most'],
        merge: ['sum', 'sum', 'max'],
        rows: [...this.#rows].map(([schedule, { rounds, failures, longestRecoverySeconds }]) => [
          schedule,
          rounds,
          failures,
          Number(longestRecoverySeconds.toFixed(1)),
        ]),
      },
    };
  }
}
