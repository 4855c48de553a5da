/** The volume's workflows as the Temporal server knows them. */

import type { Client } from '@temporalio/client';

const MAX_LISTED = 100;

export interface WorkflowLink {
  readonly type: string;
  readonly id: string;
  readonly status: string;
  readonly url: string;
  readonly runId: string;
}

export class WorkflowLog {
  readonly #address: string;
  readonly #ui: string;
  #client: Client | undefined;

  constructor(address: string, ui: string) {
    this.#address = address;
    this.#ui = ui;
  }

  async #connected(): Promise<Client> {
    if (this.#client === undefined) {
      const { Client, Connection } = await import('@temporalio/client');
      this.#client = new Client({ connection: await Connection.connect({ address: this.#address }) });
    }
    return this.#client;
  }

  /** Workflows of a volume, oldest first. The server's index follows what happens by about a second. */
  async ofVolume(volumeId: string): Promise<WorkflowLink[]> {
    const client = await this.#connected();
    const links: (WorkflowLink & { readonly started: number })[] = [];
    for await (const info of client.workflow.list({ query: `StorageosVolume = '${volumeId}'` })) {
      links.push({
        type: info.type,
        id: info.workflowId,
        runId: info.runId,
        status: info.status.name.toLowerCase(),
        url: `${this.#ui}/namespaces/default/workflows/${encodeURIComponent(info.workflowId)}/${info.runId}/history`,
        started: info.startTime.getTime(),
      });
      if (links.length === MAX_LISTED) break;
    }
    return links.sort((a, b) => a.started - b.started);
  }

  async result(link: Pick<WorkflowLink, 'id' | 'runId'>): Promise<unknown> {
    const client = await this.#connected();
    return await client.workflow.getHandle(link.id, link.runId).result();
  }

  async close(): Promise<void> {
    await this.#client?.connection.close();
  }
}
