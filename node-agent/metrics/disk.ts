/** What goes to and from the disks. Counted around the stores' disk. */

import type { Registry } from 'prom-client';
import type { Disk, DiskFile, DiskLock, DiskSpace } from '../../core/ports.js';
import { parseSegmentName } from '../store/format.js';
import { LatencyHistogram } from './latency.js';
import { registerHistogram } from './sampled.js';
import { type OfVolume, VolumeMetrics, type VolumeNames } from './volumes.js';

export interface BackendStats {
  reads: number;
  readBytes: number;
  writes: number;
  writtenBytes: number;
}

/** A disk that counts, for each copy of a volume and in all. */
export class MeteredDisk implements Disk {
  /** Of syncs of files, successful or not. */
  readonly syncs = new LatencyHistogram();
  readonly #inner: Disk;
  /** By the number that the names of a copy's segments have. */
  readonly #copies = new Map<number, BackendStats>();

  constructor(inner: Disk) {
    this.#inner = inner;
  }

  /** Of the copies that are open; the others are forgotten. */
  copies(
    open: readonly (OfVolume & { readonly statistics: { readonly inode: number } })[],
  ): (OfVolume & { readonly stats: BackendStats })[] {
    const present = new Set(open.map(({ statistics }) => statistics.inode));
    for (const inode of this.#copies.keys()) if (!present.has(inode)) this.#copies.delete(inode);
    return open.flatMap(({ volume, statistics }) => {
      const stats = this.#copies.get(statistics.inode);
      return stats === undefined ? [] : [{ volume, stats }];
    });
  }

  open(path: string, options: { create: boolean }): DiskFile {
    return this.#metered(this.#inner.open(path, options));
  }

  async openAsync(path: string, options: { create: boolean }): Promise<DiskFile> {
    return this.#metered(await this.#inner.openAsync(path, options));
  }

  #metered(file: DiskFile): DiskFile {
    return new MeteredFile(file, this.#statsFor(file.path), this.syncs);
  }

  #statsFor(path: string): BackendStats {
    const segment = parseSegmentName(path.slice(path.lastIndexOf('/') + 1));
    const fresh = (): BackendStats => ({ reads: 0, readBytes: 0, writes: 0, writtenBytes: 0 });
    // Superblocks and checkpoints are few; their bytes are in the store's own metrics.
    if (segment === undefined) return fresh();
    const known = this.#copies.get(segment.inode) ?? fresh();
    this.#copies.set(segment.inode, known);
    return known;
  }

  list(directory: string): string[] {
    return this.#inner.list(directory);
  }
  listAsync(directory: string): Promise<string[]> {
    return this.#inner.listAsync(directory);
  }
  makeDirectory(path: string): void {
    this.#inner.makeDirectory(path);
  }
  makeDirectoryAsync(path: string): Promise<void> {
    return this.#inner.makeDirectoryAsync(path);
  }
  rename(from: string, to: string): void {
    this.#inner.rename(from, to);
  }
  renameAsync(from: string, to: string): Promise<void> {
    return this.#inner.renameAsync(from, to);
  }
  unlink(path: string): void {
    this.#inner.unlink(path);
  }
  unlinkAsync(path: string): Promise<void> {
    return this.#inner.unlinkAsync(path);
  }
  removeDirectory(path: string): void {
    this.#inner.removeDirectory(path);
  }
  removeDirectoryAsync(path: string): Promise<void> {
    return this.#inner.removeDirectoryAsync(path);
  }
  syncDirectory(path: string): Promise<void> {
    return this.#inner.syncDirectory(path);
  }
  space(directory: string): DiskSpace {
    return this.#inner.space(directory);
  }
  spaceAsync(directory: string): Promise<DiskSpace> {
    return this.#inner.spaceAsync(directory);
  }
  lock(path: string): DiskLock {
    return this.#inner.lock(path);
  }
}

class MeteredFile implements DiskFile {
  readonly #inner: DiskFile;
  readonly #stats: BackendStats;
  readonly #syncs: LatencyHistogram;

  constructor(inner: DiskFile, stats: BackendStats, syncs: LatencyHistogram) {
    this.#inner = inner;
    this.#stats = stats;
    this.#syncs = syncs;
  }

  get path(): string {
    return this.#inner.path;
  }

  write(buffers: readonly Uint8Array[], position: number): void {
    this.#inner.write(buffers, position);
    this.#wasWritten(buffers);
  }

  async writeAsync(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.#inner.writeAsync(buffers, position);
    this.#wasWritten(buffers);
  }

  #wasWritten(buffers: readonly Uint8Array[]): void {
    this.#stats.writes++;
    for (const { length } of buffers) this.#stats.writtenBytes += length;
  }

  read(buffer: Uint8Array, position: number): number {
    return this.#wasRead(this.#inner.read(buffer, position));
  }

  async readAsync(buffer: Uint8Array, position: number): Promise<number> {
    return this.#wasRead(await this.#inner.readAsync(buffer, position));
  }

  readCached(buffer: Uint8Array, position: number): boolean {
    const done = this.#inner.readCached(buffer, position);
    if (done) this.#wasRead(buffer.length);
    return done;
  }

  #wasRead(bytes: number): number {
    this.#stats.reads++;
    this.#stats.readBytes += bytes;
    return bytes;
  }

  async sync(): Promise<void> {
    const startedMs = performance.now();
    try {
      await this.#inner.sync();
    } finally {
      this.#syncs.observe((performance.now() - startedMs) / 1000);
    }
  }

  writeOut(position: number, length: number, drop: boolean): Promise<void> {
    return this.#inner.writeOut(position, length, drop);
  }

  reserve(position: number, length: number): Promise<boolean> {
    return this.#inner.reserve(position, length);
  }

  truncate(size: number): void {
    this.#inner.truncate(size);
  }
  truncateAsync(size: number): Promise<void> {
    return this.#inner.truncateAsync(size);
  }
  size(): number {
    return this.#inner.size();
  }
  close(): Promise<void> {
    return this.#inner.close();
  }
}

export interface BackendSources extends VolumeNames {
  /** Of the copies on this node that are open. */
  readonly backends: () => readonly (OfVolume & { readonly stats: BackendStats })[];
  readonly disk: Pick<MeteredDisk, 'syncs'>;
}

export function registerBackendMetrics(registry: Registry, sources: BackendSources): void {
  const metrics = new VolumeMetrics(registry, sources, 'deployment', sources.backends);
  metrics.counter('backend_read_total', 'reads from segments of this copy', ({ stats }) => stats.reads);
  metrics.counter('backend_read_bytes_total', 'bytes read from segments of this copy', ({ stats }) => stats.readBytes);
  metrics.counter('backend_write_total', 'writes to segments of this copy', ({ stats }) => stats.writes);
  metrics.counter(
    'backend_write_bytes_total',
    'bytes written to segments of this copy',
    ({ stats }) => stats.writtenBytes,
  );
  registerHistogram(registry, {
    name: 'storageos_node_disk_sync_seconds',
    help: 'time until written data was on the disk, for each sync of a file',
    read: () => [{ labels: {}, latency: sources.disk.syncs }],
  });
}
