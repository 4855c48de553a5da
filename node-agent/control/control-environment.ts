/** What the agent tells its control process, by environment variables. */

export interface ControlEnvironment {
  readonly address: string;
  readonly namespace: string;
  /** For logs and the worker's identity. */
  readonly node: string;
  readonly logLevel: string;
}

export function controlEnvironment(options: ControlEnvironment): Record<string, string> {
  return {
    TEMPORAL_ADDRESS: options.address,
    TEMPORAL_NAMESPACE: options.namespace,
    HOSTNAME: options.node,
    LOG_LEVEL: options.logLevel,
  };
}

export function readControlEnvironment(env: Readonly<Record<string, string | undefined>>): ControlEnvironment {
  return {
    address: env.TEMPORAL_ADDRESS ?? '127.0.0.1:7233',
    namespace: env.TEMPORAL_NAMESPACE ?? 'default',
    node: env.HOSTNAME ?? 'control',
    logLevel: env.LOG_LEVEL ?? 'info',
  };
}
