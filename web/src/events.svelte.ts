import { ApiError, store, type PersonEvent, type Shown } from "./api";
import { newId, visitor } from "./visitor.svelte";

type Subject = Pick<Shown, "video_id" | "recommendation_id">;
const PAUSE_MS = 2000;
// The most events that one request may have; older ones are given up.
const MOST = 1000;

/** What the visitor sees and does. It is sent in batches, and before anything that depends on it is asked. */
class Events {
  /** The key may not store events: likes stay in this tab. */
  refused = $state(false);
  /** The answers in which opened videos were. */
  readonly origins = new Map<string, string | undefined>();
  #waiting: PersonEvent[] = [];
  #sending: Promise<void> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #cards = new WeakMap<Element, Subject>();
  /** Cards are made again when they come back into view, which is not another impression. */
  readonly #counted = new Set<string>();
  readonly #sight = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => this.#seen(entry.target)), { threshold: 0.5 });

  constructor() {
    addEventListener("pagehide", () => this.#quietly(true));
  }

  record(type: PersonEvent["type"], { video_id, recommendation_id }: Subject, value?: number): void {
    if (this.refused) return;
    const said = { ...(value !== undefined && { value }), ...(recommendation_id && { recommendation_id }) };
    this.#waiting = [...this.#waiting, { event_id: newId(), ...visitor.owner, video_id, type, ...said }].slice(-MOST);
    this.#timer ??= setTimeout(() => this.#quietly(), PAUSE_MS);
  }

  /** Record an impression once half of a card is in view. Returns what ends the watch. */
  watch(card: Element, video: Subject): () => void {
    this.#cards.set(card, video);
    this.#sight.observe(card);
    return () => this.#sight.unobserve(card);
  }

  /** Send what waits. Then it is stored; if this fails, it waits for the next time. */
  flush(leaving = false): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending = this.#sending.catch(() => undefined).then(() => this.#send(leaving));
    return this.#sending;
  }

  async #send(leaving: boolean): Promise<void> {
    const batch = this.#waiting;
    if (!batch.length) return;
    this.#waiting = [];
    try {
      await store(batch, leaving);
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      if (status === 403) this.refused = true;
      // 422: the release has none of these videos any more.
      if (status === 403 || status === 422) return;
      this.#waiting = [...batch, ...this.#waiting].slice(-MOST);
      throw error;
    }
  }

  /** A list that depends on the events reports the error; until then they wait. */
  #quietly(leaving = false): void {
    this.flush(leaving).catch(() => undefined);
  }

  #seen(card: Element): void {
    const video = this.#cards.get(card);
    this.#sight.unobserve(card);
    const offer = video && `${video.recommendation_id} ${video.video_id}`;
    if (!offer || this.#counted.has(offer)) return;
    this.#counted.add(offer);
    this.record("impression", video);
  }
}

export const events = new Events();
