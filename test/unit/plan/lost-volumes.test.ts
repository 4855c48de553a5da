import { describe, expect, it } from 'vitest';
import {
  describeObstacle,
  describeRestorationRisk,
  type HeldVolume,
  lostVolumes,
  newestMemory,
  planRestoration,
  type RestorationInput,
} from '../../../core/lost-volumes.js';
import type { SurveyedCopy } from '../../../core/recovery.js';
import type { DeploymentId, Epoch, NamespaceId, NodeId, VolumeId } from '../../../core/types.js';
import { aNamespace, aVolume } from '../../setup/records.js';

const node = (name: string) => name as NodeId;
const deployment = (name: string) => name as DeploymentId;

function held(volume: string, promised: number, patch: Partial<HeldVolume> = {}): HeldVolume {
  const deployments = [deployment(`${volume}-${promised}`)];
  return { volume: volume as VolumeId, deployments, sizeBytes: 4096, promised: promised as Epoch, ...patch };
}

describe('lost volumes', () => {
  const nobody = () => false;

  it('are those that nodes have and etcd has not, each once, under the name that the copy with the newest epoch gives', () => {
    const found = lostVolumes(
      new Map([
        [node('n1'), [held('v', 3, { name: 'old', namespaceName: 'a' }), held('w', 1)]],
        [node('n2'), [held('v', 5, { name: 'new', namespaceName: 'b' }), held('known', 9)]],
      ]),
      (volume) => volume === 'known',
      nobody,
    );
    expect(found).toEqual([
      {
        id: 'v',
        name: 'new',
        namespaceName: 'b',
        sizeBytes: 4096,
        epoch: 5,
        copies: [
          { deployment: 'v-3', node: 'n1' },
          { deployment: 'v-5', node: 'n2' },
        ],
      },
      { id: 'w', name: '', namespaceName: '', sizeBytes: 4096, epoch: 1, copies: [{ deployment: 'w-1', node: 'n1' }] },
    ]);
  });

  it('have the name that any node remembers, if the one with the newest copy does not', () => {
    const [found] = lostVolumes(
      new Map([
        [node('n1'), [held('v', 3, { name: 'old', namespaceName: 'a' })]],
        [node('n2'), [held('v', 5)]],
      ]),
      nobody,
      nobody,
    );
    expect(found).toMatchObject({ name: 'old', namespaceName: 'a', epoch: 5 });
  });

  it('are not those whose copies are about to be erased', () => {
    const copies = new Map([[node('n1'), [held('v', 3), held('w', 4)]]]);
    expect(lostVolumes(copies, nobody, (id) => id === 'v-3').map(({ id }) => id)).toEqual(['w']);
  });
});

describe('what nodes remember', () => {
  it('counts as of the last change', () => {
    const at = (updatedAt: string) => ({ volume: aVolume({ updatedAt }), namespaceName: '' });
    const newest = at('2026-03-01T00:00:00Z');
    expect(newestMemory([at('2026-01-01T00:00:00Z'), newest, at('2026-02-01T00:00:00Z')])).toBe(newest);
    expect(newestMemory([])).toBeUndefined();
  });
});

describe('the record of a volume that comes back', () => {
  const shop = aNamespace({ name: 'shop' });
  const known = aVolume({
    name: 'orders',
    namespace: shop.id,
    labels: { app: 'shop' },
    fsType: 'xfs',
    replicas: 2,
    encryption: true,
    phase: 'provisioning',
    nextCopyOn: node('n9'),
    evicting: [deployment('x')],
  });
  const placements = [{ deployment: deployment('d'), node: node('n1') }];
  const shape = { blockSize: 8192, blocks: 10 };

  const plan = (patch: Partial<RestorationInput> = {}) =>
    planRestoration({
      volume: known.id,
      wishes: {},
      remembered: { volume: known, namespaceName: 'shop' },
      copies: [{ shape } as SurveyedCopy],
      placements,
      namespaces: [shop],
      isTaken: () => false,
      key: 'usable',
      encrypted: 'encrypted',
      timestamp: '2026-05-05T00:00:00Z',
      ...patch,
    });
  const obstacles = (patch: Partial<RestorationInput>) => {
    const { obstacles, record } = plan(patch);
    for (const obstacle of obstacles) expect(describeObstacle(obstacle)).not.toBe('');
    expect(record === undefined).toBe(obstacles.length > 0);
    return obstacles.map(({ kind }) => kind);
  };

  const ofNobody: Partial<RestorationInput> = { remembered: undefined, wishes: { name: 'x', namespace: shop.id } };

  it('is what was remembered, without what was about to happen, in the size that the copies have', () => {
    const { nextCopyOn: _, evicting: __, ...settings } = known;
    expect(plan().record).toEqual({
      ...settings,
      phase: 'ready',
      sizeBytes: 81_920,
      blockSize: 8192,
      placements,
      updatedAt: '2026-05-05T00:00:00Z',
    });
  });

  it('has the name and the namespace that the user gives', () => {
    const other = aNamespace();
    const { record } = plan({ wishes: { name: 'mine', namespace: other.id }, namespaces: [shop, other] });
    expect(record).toMatchObject({ name: 'mine', namespace: other.id, fsType: 'xfs' });
  });

  it('is in the namespace of the same name if its own is lost', () => {
    const anew = aNamespace({ name: 'shop' });
    expect(plan({ namespaces: [anew] }).record?.namespace).toBe(anew.id);
  });

  it('has what copies and user say where nobody remembers it', () => {
    const wishes = { name: 'found', namespace: shop.id, fsType: 'btrfs' } as const;
    const { record } = plan({ remembered: undefined, wishes, encrypted: 'empty', key: 'missing' });
    expect(record).toMatchObject({
      name: 'found',
      fsType: 'btrfs',
      replicas: 0,
      encryption: false,
      labels: { 'storageos.com/replicas': '0' },
      sizeBytes: 81_920,
    });
    // A key is made for encrypted volumes only.
    expect(plan({ remembered: undefined, wishes, encrypted: 'untold' }).record?.encryption).toBe(true);
  });

  it.each<[string, Partial<RestorationInput>]>([
    ['nameless', { remembered: undefined }],
    ['nameless', { remembered: undefined, wishes: { name: 'x' } }],
    ['nameless', { remembered: undefined, wishes: { namespace: shop.id } }],
    ['namespace-gone', { namespaces: [] }],
    ['namespace-gone', { wishes: { namespace: 'elsewhere' as NamespaceId } }],
    ['name-taken', { isTaken: (namespace, name) => namespace === shop.id && name === 'orders' }],
    ['key-missing', { key: 'missing' }],
    ['key-unusable', { key: 'unusable' }],
    ['encryption-untold', { ...ofNobody, encrypted: 'untold', key: 'missing' }],
    ['shapeless', { ...ofNobody, copies: [] }],
  ])('%s stands against it: %#', (kind, patch) => {
    expect(obstacles(patch)).toEqual([kind]);
  });

  it('takes what was remembered for whether it is encrypted, where no copy tells', () => {
    expect(plan({ encrypted: 'untold' }).record?.encryption).toBe(true);
    const plain = { volume: { ...known, encryption: false }, namespaceName: 'shop' };
    expect(plan({ encrypted: 'untold', remembered: plain }).record?.encryption).toBe(false);
  });

  it('has to be accepted if the volume was being deleted', () => {
    expect(plan().risks).toEqual([]);
    const { risks, record } = plan({ remembered: { volume: { ...known, phase: 'deleting' }, namespaceName: 'shop' } });
    expect(risks).toEqual([{ kind: 'was-being-deleted' }]);
    for (const risk of risks) expect(describeRestorationRisk(risk)).toMatch(/deletion/);
    expect(record?.phase).toBe('ready');
  });

  it('needs no key for data that is not encrypted, whatever is remembered', () => {
    expect(plan({ encrypted: 'plain', key: 'missing' }).record?.encryption).toBe(false);
  });
});
