/** With what the tree of commands is declared: groups, commands with their pages of help, and flags that recur. */

import type { Command } from 'commander';
import { ApiError } from '../client/errors.js';
import type { Context } from './context.js';
import { type Notes, note } from './notes.js';
import type { Streams } from './output.js';
import type { GlobalFlags, Settings } from './settings.js';

export interface Runtime {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly streams: Streams;
  /** Asks the user for something that is not shown; absent where nobody could answer. */
  readonly askSecretly?: (prompt: string) => Promise<string>;
}

/** What a command does, with its arguments and its own flags. */
export type Action = (context: Context, args: string[], flags: never) => Promise<void>;

export interface CommandPage extends Notes {
  /** One line: what the command does. */
  readonly summary: string;
  readonly aliases?: readonly string[];
}

export const KUBERNETES_FLAG = 'i-understand-that-this-value-will-be-overwritten-by-kubernetes';

export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

export class Kit {
  readonly program: Command;
  readonly runtime: Runtime;

  constructor(program: Command, runtime: Runtime) {
    this.program = program;
    this.runtime = runtime;
  }

  /** A command that only has commands below it. */
  group(parent: Command, name: string, page: CommandPage): Command {
    return this.#declare(parent, name, page);
  }

  /** A command that asks the API; `load` gives its action when it is called, so that the CLI starts fast. */
  command(parent: Command, usage: string, page: CommandPage, load: () => Promise<unknown>): Command {
    const command = this.#declare(parent, usage, page);
    return command.action(async () => {
      const [context, action] = await Promise.all([this.context(), load() as Promise<Action>]);
      try {
        await action(context, command.args, command.opts() as never);
      } catch (error) {
        if (error instanceof ApiError && error.status === 451) {
          const { withLicenceAdvice } = await import('./licence-advice.js');
          throw await withLicenceAdvice(context, error);
        }
        throw error;
      }
    });
  }

  /** What a command works with. Errors: CliError for settings that are wrong. */
  async context(): Promise<Context> {
    const [{ Client }, settings] = await Promise.all([import('./client.js'), this.settings()]);
    const { streams, askSecretly } = this.runtime;
    return {
      client: new Client(settings),
      streams,
      nowMs: Date.now(),
      colours: streams.colours ?? false,
      ...(askSecretly !== undefined && { askSecretly }),
    };
  }

  /** Errors: CliError. */
  async settings(): Promise<Settings> {
    const { readSettings } = await import('./settings.js');
    return readSettings(this.#globalFlags(), this.runtime.env);
  }

  #declare(parent: Command, usage: string, page: CommandPage): Command {
    const command = parent.command(usage).aliases([...(page.aliases ?? [])]);
    note(command.summary(page.summary).description(page.summary), page);
    return command;
  }

  /** The flags of the program that were given; defaults come from elsewhere. */
  #globalFlags(): GlobalFlags {
    const { program } = this;
    const given = Object.entries(program.opts()).filter(([name]) => program.getOptionValueSource(name) === 'cli');
    return Object.fromEntries(given) as GlobalFlags;
  }
}

/* ---- flags that recur ---- */

export function withCas(command: Command): Command {
  return command.option('--cas <version>', 'only if the object still has this version');
}

export function withAsync(command: Command): Command {
  return command.option('--async', 'do not wait for the operation to end; --timeout bounds it');
}

export function withWait(command: Command, until: string): Command {
  return command.option('--wait', `show progress and return when ${until}`);
}

export function withSelector(command: Command): Command {
  return command.option(
    '-l, --selector <label>',
    'objects with this label: key or key=value; repeat to narrow',
    collect,
  );
}

export function withAllNamespaces(command: Command): Command {
  return command.option('-A, --all-namespaces', 'of all namespaces');
}

export function understood(command: Command): Command {
  return command.requiredOption(
    `--${KUBERNETES_FLAG}`,
    'required: Kubernetes writes its own value over this one if the volume has a claim',
  );
}
