/** The tree of commands. What a command does is loaded when it is called, so that the CLI starts fast. */

import { Command } from 'commander';
import type { Context } from './context.js';
import { addDebugCommands } from './debug.js';
import type { Streams } from './output.js';
import type { GlobalFlags } from './settings.js';
import { VERSION } from './version.js';

export interface Runtime {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly streams: Streams;
}

type Action = (context: Context, args: string[], flags: never) => Promise<void>;

export const KUBERNETES_FLAG = 'i-understand-that-this-value-will-be-overwritten-by-kubernetes';

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

export function createProgram(runtime: Runtime): Command {
  const program = new Command('storageos')
    .description('Manages a StorageOS cluster: its volumes, nodes, namespaces and users.')
    .option('--endpoints <url>', 'API endpoint, the first is used (STORAGEOS_ENDPOINTS)', collect)
    .option('--username <name>', 'user (STORAGEOS_USERNAME)')
    .option('--password <text>', 'password (STORAGEOS_PASSWORD, STORAGEOS_PASSWORD_COMMAND)')
    .option('-n, --namespace <name>', 'namespace (STORAGEOS_NAMESPACE)')
    .option('-o, --output <format>', 'text, json or yaml (STORAGEOS_OUTPUT_FORMAT)')
    .option('--timeout <duration>', 'of the whole command, like 15s (STORAGEOS_API_TIMEOUT)')
    .option('--use-ids', 'arguments are ids, not names (STORAGEOS_USE_IDS)')
    .option('--no-auth-cache', 'log in for every command (STORAGEOS_NO_AUTH_CACHE)')
    .option('--cache-dir <directory>', 'where sessions are kept (STORAGEOS_CACHE_DIR)')
    .option('-c, --config <file>', 'configuration file (STORAGEOS_CONFIG)')
    .version(VERSION, '--version', 'print the version')
    .configureOutput({ writeOut: runtime.streams.out, writeErr: runtime.streams.err })
    .showHelpAfterError('Run with --help for what can be given.')
    .exitOverride();

  /** `load` gives the action of a command. */
  function runs(command: Command, load: () => Promise<unknown>): Command {
    return command.action(async () => {
      const [{ Client }, { readSettings }, action] = await Promise.all([
        import('./client.js'),
        import('./settings.js'),
        load() as Promise<Action>,
      ]);
      const global = globalFlags(program);
      const context = {
        client: new Client(await readSettings(global, runtime.env)),
        streams: runtime.streams,
        nowMs: Date.now(),
      };
      await action(context, command.args, command.opts() as never);
    });
  }

  const withCas = (command: Command) => command.option('--cas <version>', 'only if the object still has this version');
  const withAsync = (command: Command) => command.option('--async', 'do not wait for the operation to end');
  const withSelector = (command: Command) =>
    command.option('-l, --selector <label>', 'objects with this label: key or key=value; repeat to narrow', collect);
  const withAllNamespaces = (command: Command) => command.option('-A, --all-namespaces', 'of all namespaces');
  const understood = (command: Command) =>
    command.requiredOption(`--${KUBERNETES_FLAG}`, 'required, as Kubernetes may write its own value');

  const commands = {
    get: () => import('./commands/get.js'),
    create: () => import('./commands/create.js'),
    attachment: () => import('./commands/attachment.js'),
    remove: () => import('./commands/delete.js'),
    update: () => import('./commands/update.js'),
  };

  const get = program.command('get').description('show objects in a table');
  runs(
    withSelector(withAllNamespaces(get.command('volumes [names...]').alias('volume').description('show volumes'))),
    async () => (await commands.get()).getVolumes,
  );
  runs(
    withSelector(get.command('nodes [names...]').alias('node').description('show nodes')),
    async () => (await commands.get()).getNodes,
  );
  runs(
    withSelector(get.command('namespaces [names...]').alias('namespace').description('show namespaces')),
    async () => (await commands.get()).getNamespaces,
  );
  runs(
    get.command('users [names...]').alias('user').description('show users'),
    async () => (await commands.get()).getUsers,
  );
  runs(get.command('cluster').description('show the cluster'), async () => (await commands.get()).getCluster);
  runs(
    get.command('licence').alias('license').description('show the licence'),
    async () => (await commands.get()).getLicence,
  );

  const describe = program.command('describe').description('show objects in detail');
  runs(
    withSelector(withAllNamespaces(describe.command('volumes [names...]').alias('volume').description('volumes'))),
    async () => (await commands.get()).describeVolumes,
  );
  runs(
    withSelector(describe.command('nodes [names...]').alias('node').description('nodes and their copies of volumes')),
    async () => (await commands.get()).describeNodes,
  );
  runs(
    describe.command('namespaces [names...]').alias('namespace').description('namespaces'),
    async () => (await commands.get()).describeNamespaces,
  );
  runs(
    describe.command('cluster').description('the cluster and its nodes'),
    async () => (await commands.get()).describeClusterCommand,
  );
  runs(
    describe.command('licence').alias('license').description('the licence'),
    async () => (await commands.get()).getLicence,
  );

  const create = program.command('create').description('make objects');
  runs(
    withAsync(create.command('volume <name>').description('make a volume'))
      .option('-s, --size <size>', 'like 5GiB', '5GiB')
      .option('-r, --replicas <number>', 'copies beside the master, 0 to 5', '0')
      .option('-f, --fs-type <type>', 'ext2, ext3, ext4, xfs, btrfs or block', 'ext4')
      .option('-d, --description <text>', 'for people', '')
      .option('-l, --labels <labels>', 'key=value,…')
      .option('--cache', 'cache reads', true)
      .option('--no-cache')
      .option('--compress', 'compress data', true)
      .option('--no-compress')
      .option('--throttle', 'give way to other volumes', false),
    async () => (await commands.create()).createVolume,
  );
  runs(
    create.command('namespace <name>').description('make a namespace').option('-l, --labels <labels>', 'key=value,…'),
    async () => (await commands.create()).createNamespace,
  );
  runs(
    create
      .command('user')
      .description('make a user')
      .option('--with-username <name>', 'name')
      .option('--with-password <text>', 'password, at least 8 characters')
      .option('--with-admin', 'with the rights of an administrator'),
    async () => (await commands.create()).createUser,
  );

  runs(
    program.command('attach <volume> <node>').description('give a volume to a node'),
    async () => (await commands.attachment()).attach,
  );
  runs(
    withCas(withAsync(program.command('detach <volume>').description('take a volume from its node'))),
    async () => (await commands.attachment()).detach,
  );

  const remove = program.command('delete').description('delete objects');
  runs(
    withCas(withAsync(remove.command('volume <name>').description('delete a volume and its data'))).option(
      '--offline-delete',
      'although its nodes are away; they delete the data when they are back',
    ),
    async () => (await commands.remove()).deleteVolume,
  );
  runs(
    withCas(remove.command('namespace <name>').description('delete an empty namespace')),
    async () => (await commands.remove()).deleteNamespace,
  );
  runs(
    withCas(withAsync(remove.command('node <name>').description('forget a node that is offline'))),
    async () => (await commands.remove()).deleteNode,
  );

  const volume = program.command('update').description('change objects').command('volume').description('of a volume');
  runs(
    withCas(withAsync(understood(volume.command('replicas <volume> <number>').description('its replicas, 0 to 5')))),
    async () => (await commands.update()).updateVolumeReplicas,
  );
  runs(
    withCas(withAsync(understood(volume.command('labels <volume> [labels...]').description('its labels'))))
      .option('--upsert', 'add to the labels, or replace their values')
      .option('--delete', 'take these labels away'),
    async () => (await commands.update()).updateVolumeLabels,
  );
  runs(
    withCas(withAsync(volume.command('description <volume> <text>').description('its description'))),
    async () => (await commands.update()).updateVolumeDescription,
  );
  runs(
    withCas(understood(volume.command('failure-mode <volume> <mode>').description('hard, soft, alwayson, or 0 to 5'))),
    async () => (await commands.update()).updateVolumeFailureMode,
  );

  runs(
    withCas(program.command('cordon <node>').description('place nothing new on a node')),
    async () => (await commands.update()).cordon,
  );
  runs(
    withCas(program.command('uncordon <node>').description('use a node again')),
    async () => (await commands.update()).uncordon,
  );

  addDebugCommands(program, {
    ...runtime,
    settings: async () => (await import('./settings.js')).readSettings(globalFlags(program), runtime.env),
  });

  program
    .command('version')
    .description('print the version')
    .action(() => runtime.streams.out(`${VERSION}\n`));
  return program;
}

/** The flags of the program that were given; defaults come from elsewhere. */
function globalFlags(program: Command): GlobalFlags {
  const given = Object.entries(program.opts()).filter(([name]) => program.getOptionValueSource(name) === 'cli');
  return Object.fromEntries(given) as GlobalFlags;
}
