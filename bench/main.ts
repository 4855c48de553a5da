/** `npm run bench -- NAME [options]`: each benchmark is a module of this folder that runs when it is loaded. */

const BENCHMARKS: Readonly<Record<string, () => Promise<unknown>>> = {
  api: () => import('./api.js'),
  cli: () => import('./cli.js'),
  codec: () => import('./codec.js'),
  'codec-timing': () => import('./codec-timing.js'),
  index: () => import('./index.js'),
  'many-volumes': () => import('./many-volumes.js'),
  metrics: () => import('./metrics.js'),
  nbd: () => import('./nbd.js'),
  replication: () => import('./replication.js'),
  'slow-disk': () => import('./slow-disk.js'),
  store: () => import('./store.js'),
};

const [name = '', ...options] = process.argv.slice(2);
const benchmark = Object.hasOwn(BENCHMARKS, name) ? BENCHMARKS[name] : undefined;
if (benchmark === undefined) {
  console.error(`Usage: npm run bench -- NAME [options]\nThere are: ${Object.keys(BENCHMARKS).join(', ')}`);
  process.exitCode = 2;
} else {
  process.argv.splice(2, process.argv.length - 2, ...options);
  await benchmark();
}
