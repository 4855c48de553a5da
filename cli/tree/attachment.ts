/** `storageos attach`, `detach`, `nfs …` */

import { type Kit, withAsync, withCas } from '../kit.js';

const actions = () => import('../commands/attachment.js');
const nfs = () => import('../commands/nfs.js');

export function addAttachmentCommands(kit: Kit): void {
  const { program } = kit;
  kit.command(
    program,
    'attach <volume> <node>',
    {
      summary: 'show a volume as a block device on a node',
      examples: [{ purpose: 'on node1', line: 'attach data node1' }],
      completes: ['volume', 'node'],
    },
    async () => (await actions()).attach,
  );
  withCas(
    withAsync(
      kit.command(
        program,
        'detach <volume>',
        {
          summary: 'take a volume from its node',
          examples: [{ purpose: 'wherever it is', line: 'detach data' }],
          completes: ['volume'],
        },
        async () => (await actions()).detach,
      ),
    ),
  );

  const group = kit.group(program, 'nfs', { summary: 'share volumes by NFS' });
  withCas(
    withAsync(
      kit.command(
        group,
        'attach <volume>',
        {
          summary: 'serve a volume by NFS',
          examples: [{ purpose: 'its root directory', line: 'nfs attach data' }],
          completes: ['volume'],
        },
        async () => (await nfs()).nfsAttach,
      ),
    ),
  );
  withCas(
    withAsync(
      kit.command(
        group,
        'endpoint <volume> <address>',
        {
          summary: 'the address by which nodes mount it',
          examples: [{ purpose: "a service's address", line: 'nfs endpoint data 10.96.0.7:2049' }],
          completes: ['volume'],
        },
        async () => (await nfs()).nfsEndpoint,
      ),
    ),
  );
  withCas(
    withAsync(
      kit.command(
        group,
        'exports <volume> [exports...]',
        {
          summary: 'what of it is shared, and with whom',
          details: [
            'An export is ID,PATH,PSEUDO,ACL+ACL…; an ACL is type;matcher;uid;gid;squash;access with the types cidr, hostname and netgroup, squash none, root, rootuid or all, and access ro or rw.',
          ],
          examples: [
            {
              purpose: 'everything, with one network',
              line: "nfs exports data '1,/,/,cidr;10.0.0.0/8;0;0;all;rw'",
            },
          ],
          completes: ['volume'],
        },
        async () => (await nfs()).nfsExports,
      ),
    ),
  );
}
