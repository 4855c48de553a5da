import type { LogFormat, LogSettings } from './log.js';

/** The cluster's settings of the log, as the API has them. */
export interface ClusterLog {
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly logFormat: LogFormat;
}

/**
 * Which settings of the log hold: those of the environment, until the cluster's are changed while this process runs;
 * the cluster's where the environment says nothing.
 */
export class LogFollower {
  #settings: LogSettings;
  #seen: ClusterLog | undefined;
  readonly #given: Partial<LogSettings>;
  readonly #apply: (settings: LogSettings) => void;

  /** `given`: by the environment. `apply` is called with what holds whenever that changes. */
  constructor(start: LogSettings, given: Partial<LogSettings>, apply: (settings: LogSettings) => void) {
    this.#settings = start;
    this.#given = given;
    this.#apply = apply;
  }

  get settings(): LogSettings {
    return this.#settings;
  }

  onCluster(cluster: ClusterLog): void {
    const { level, format } = this.#settings;
    const before = this.#seen;
    this.#seen = { logLevel: cluster.logLevel, logFormat: cluster.logFormat };
    const next =
      before === undefined
        ? { level: this.#given.level ?? cluster.logLevel, format: this.#given.format ?? cluster.logFormat }
        : {
            level: cluster.logLevel === before.logLevel ? level : cluster.logLevel,
            format: cluster.logFormat === before.logFormat ? format : cluster.logFormat,
          };
    if (next.level === level && next.format === format) return;
    this.#settings = next;
    this.#apply(next);
  }
}
