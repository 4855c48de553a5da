import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Logger, LogSettings } from '../log.js';
import { type ControlEnvironment, controlEnvironment } from './control-environment.js';
import type { AgentMessage, ControlMessage } from './control-messages.js';

const ENTRY = fileURLToPath(new URL('./control-worker.js', import.meta.url));
const FIRST_RESTART_MS = 500;
const MAX_RESTART_MS = 30_000;
/** A process that lived for so long begins with the shortest pause again. */
const STABLE_MS = 60_000;
const STOP_TIMEOUT_MS = 8_000;

/** Keeps the control process running while the agent runs. */
export class ControlProcess {
  #environment: ControlEnvironment;
  readonly #logger: Logger;
  readonly #told: (message: ControlMessage) => void;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #restartMs = FIRST_RESTART_MS;
  #stopped = false;

  /** `told` is called with what the process tells. */
  constructor(environment: ControlEnvironment, logger: Logger, told: (message: ControlMessage) => void) {
    this.#environment = environment;
    this.#logger = logger;
    this.#told = told;
    this.#start();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  configureLog(log: LogSettings): void {
    this.#environment = { ...this.#environment, log };
    this.#tell({ type: 'log', settings: log });
  }

  #tell(message: AgentMessage): void {
    // A process that is being started anew is told by its environment.
    if (this.#child?.connected) this.#child.send(message, () => {});
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      if (child.connected) child.disconnect();
      else child.kill('SIGTERM');
    });
  }

  #start(): void {
    const startedMs = performance.now();
    const child = fork(ENTRY, {
      env: controlEnvironment(this.#environment, process.env),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    // Both ends are of one version: the agent starts the file that was built with it.
    child.on('message', (message) => this.#told(message as ControlMessage));
    child.once('error', (err) => this.#logger.error({ err }, 'control process cannot be started'));
    child.once('exit', (code, signal) => {
      this.#child = undefined;
      if (this.#stopped) return;
      if (performance.now() - startedMs > STABLE_MS) this.#restartMs = FIRST_RESTART_MS;
      this.#logger.error({ code, signal, restartMs: this.#restartMs }, 'control process ended; starting it again');
      this.#timer = setTimeout(() => this.#start(), this.#restartMs);
      this.#restartMs = Math.min(this.#restartMs * 2, MAX_RESTART_MS);
    });
  }
}
