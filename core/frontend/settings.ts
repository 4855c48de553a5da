/** Bounds and times of a volume's frontend. All times are milliseconds of `Clock.now()`. */
export interface FrontendSettings {
  /** Requests sent to the primary and not yet answered, at most. */
  readonly windowRequests: number;
  /** Their bytes, at most; one request alone may be larger. */
  readonly windowBytes: number;
  /** Requests that the frontend holds, sent or not. Whoever feeds it keeps below; beyond is a bug. */
  readonly maxRequests: number;
  /** The first and the longest pause between two attempts to open a session. */
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** An attempt to open a session that is silent for so long is given up. */
  readonly openTimeoutMs: number;
  /** Without a session, or with a request unanswered, for so long: somebody should look. */
  readonly attentionAfterMs: number;
  /** Pause before the same is said again. */
  readonly attentionEveryMs: number;
  /** A request older than this fails. Longer than any failover; shorter than the block device's own time-out. */
  readonly deviceTimeoutMs: number;
}

export const DEFAULT_FRONTEND_SETTINGS: FrontendSettings = {
  windowRequests: 256,
  windowBytes: 32 << 20,
  maxRequests: 8192,
  retryMinMs: 20,
  retryMaxMs: 500,
  openTimeoutMs: 5_000,
  attentionAfterMs: 300,
  attentionEveryMs: 2_000,
  deviceTimeoutMs: 240_000,
};
