import type { Membership, Placement } from '../domain.js';
import type { Opened, SessionMessage } from '../messages.js';
import type { Clock, Random, SessionChannel, SessionConnector, Timer } from '../ports.js';
import type { DeploymentId, Epoch, Generation, Incarnation, NodeId, SessionNumber, VolumeId } from '../types.js';
import type { FrontendSettings } from './settings.js';

export interface SessionKeeperEvents {
  /** A session is open; requests may be sent in it until `lost`. */
  opened(message: Opened): void;
  /** An answer in the open session. */
  answer(message: SessionMessage): void;
  /** The open session is over. Another one is being looked for. */
  lost(reason: string): void;
  /** A newer attachment exists: no session will ever open again. */
  fenced(): void;
  /** There has been no session for some time. */
  absent(): void;
}

interface Attempt {
  readonly session: SessionNumber;
  readonly deployment: DeploymentId;
  readonly node: NodeId;
  /** Which life of the primary is meant; unknown if another node named it. */
  readonly incarnation: Incarnation | undefined;
  channel: SessionChannel | undefined;
  /** The primary's epoch, once the session is open. */
  epoch: Epoch | undefined;
  openedAtMs: number;
}

/**
 * Keeps one session with the volume's primary open, wherever the primary is. Where it is says the newest
 * membership record known here; a node that isn't the primary may point elsewhere, and is believed for one
 * attempt. Every attempt takes a higher session number, so a primary can tell the newest from one that a slow
 * network brings later.
 */
export class SessionKeeper {
  readonly #volume: VolumeId;
  readonly #generation: Generation;
  readonly #nextSession: () => SessionNumber;
  readonly #connector: SessionConnector;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #settings: FrontendSettings;
  readonly #events: SessionKeeperEvents;
  #record: Membership | undefined;
  #placements: readonly Placement[] = [];
  /** Where a refusing node said that the primary is. */
  #hint: NodeId | undefined;
  #attempt: Attempt | undefined;
  #failures = 0;
  #retry: Timer | undefined;
  #openTimeout: Timer | undefined;
  #absence: Timer | undefined;
  #ended = false;

  constructor(options: {
    volume: VolumeId;
    generation: Generation;
    nextSession: () => SessionNumber;
    connector: SessionConnector;
    clock: Clock;
    random: Random;
    settings: FrontendSettings;
    events: SessionKeeperEvents;
  }) {
    this.#volume = options.volume;
    this.#generation = options.generation;
    this.#nextSession = options.nextSession;
    this.#connector = options.connector;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#settings = options.settings;
    this.#events = options.events;
    this.#watchAbsence(this.#settings.attentionAfterMs);
  }

  /** The open session's channel. */
  get channel(): SessionChannel | undefined {
    return this.#attempt?.epoch === undefined ? undefined : this.#attempt.channel;
  }

  get session(): SessionNumber | undefined {
    return this.#attempt?.session;
  }

  /** The node of the open session. */
  get primary(): NodeId | undefined {
    return this.#attempt?.epoch === undefined ? undefined : this.#attempt.node;
  }

  onMembership(record: Membership | undefined, placements: readonly Placement[]): void {
    this.#placements = placements;
    const known = this.#record;
    if (record === undefined || this.#ended) return;
    if (known !== undefined && record.epoch <= known.epoch && record.etcdClusterId === known.etcdClusterId) return;
    this.#record = record;
    this.#hint = undefined;
    if (this.#attempt !== undefined) {
      if (!this.#isDeposed(this.#attempt, record)) return;
      this.#drop('another primary was named');
    }
    this.#failures = 0;
    this.#connect();
  }

  /** Ends for good. */
  end(): void {
    this.#ended = true;
    this.#retry?.cancel();
    this.#absence?.cancel();
    this.#openTimeout?.cancel();
    const channel = this.#attempt?.channel;
    this.#attempt = undefined;
    channel?.close();
  }

  #isDeposed(attempt: Attempt, record: Membership): boolean {
    if (attempt.epoch !== undefined && attempt.epoch >= record.epoch) return false;
    const { deployment, incarnation } = record.primary;
    return (
      attempt.deployment !== deployment || (attempt.incarnation !== undefined && attempt.incarnation !== incarnation)
    );
  }

  #target(): { placement: Placement; incarnation: Incarnation | undefined } | undefined {
    const hinted = this.#placements.find((placement) => placement.node === this.#hint);
    this.#hint = undefined;
    if (hinted !== undefined) return { placement: hinted, incarnation: undefined };
    if (this.#record === undefined) return undefined;
    const { deployment, node, incarnation } = this.#record.primary;
    return { placement: { deployment, node }, incarnation };
  }

  #connect(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    const target = this.#target();
    // Without a record nobody can be asked: the next `onMembership` comes back here.
    if (target === undefined || this.#ended) return;
    const { placement, incarnation } = target;
    const attempt: Attempt = {
      session: this.#nextSession(),
      deployment: placement.deployment,
      node: placement.node,
      incarnation,
      channel: undefined,
      epoch: undefined,
      openedAtMs: 0,
    };
    this.#attempt = attempt;
    this.#openTimeout = this.#clock.after(this.#settings.openTimeoutMs, () => {
      if (this.#attempt === attempt) this.#fail('no answer');
    });
    const channel = this.#connector.connect(
      { volume: this.#volume, deployment: placement.deployment, node: placement.node },
      {
        message: (message) => {
          if (this.#attempt === attempt) this.#onMessage(attempt, message);
        },
        closed: (reason) => {
          if (this.#attempt === attempt) this.#fail(reason);
        },
      },
    );
    attempt.channel = channel;
    // The connector may have said within the call that there is no connection.
    if (this.#attempt !== attempt) {
      channel.close();
      return;
    }
    channel.send({ type: 'open', session: attempt.session, generation: this.#generation });
  }

  #onMessage(attempt: Attempt, message: SessionMessage): void {
    switch (message.type) {
      case 'opened':
        if (message.session !== attempt.session || attempt.epoch !== undefined) return;
        attempt.epoch = message.epoch;
        attempt.openedAtMs = this.#clock.now();
        this.#openTimeout?.cancel();
        this.#absence?.cancel();
        this.#absence = undefined;
        this.#events.opened(message);
        return;
      case 'rejected':
        if (message.session !== attempt.session) return;
        if (message.reason === 'fenced') {
          this.end();
          this.#events.fenced();
          return;
        }
        if (message.reason === 'not-primary' && message.primary !== attempt.node) this.#hint = message.primary;
        this.#fail(message.reason);
        return;
      default:
        if (attempt.epoch !== undefined) this.#events.answer(message);
    }
  }

  /** The attempt or the session has failed; the next attempt follows after a pause. */
  #fail(reason: string): void {
    const openedAtMs = this.#attempt?.epoch === undefined ? undefined : this.#attempt.openedAtMs;
    // A session that lasted proves that the way there is good; one that breaks at once is treated as a refusal.
    if (openedAtMs !== undefined && this.#clock.now() - openedAtMs >= this.#settings.retryMaxMs) this.#failures = 0;
    this.#drop(reason);
    if (this.#ended || this.#retry !== undefined || this.#attempt !== undefined) return;
    const { retryMinMs, retryMaxMs } = this.#settings;
    const ceiling = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    this.#retry = this.#clock.after(ceiling * (0.5 + this.#random.next() / 2), () => this.#connect());
  }

  #drop(reason: string): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    this.#openTimeout?.cancel();
    attempt?.channel?.close();
    if (attempt?.epoch === undefined) return;
    this.#watchAbsence(this.#settings.attentionAfterMs);
    this.#events.lost(reason);
  }

  #watchAbsence(delayMs: number): void {
    this.#absence?.cancel();
    this.#absence = this.#clock.after(delayMs, () => {
      this.#watchAbsence(this.#settings.attentionEveryMs);
      this.#events.absent();
    });
  }
}
