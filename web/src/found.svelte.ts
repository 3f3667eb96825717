import { ApiError, list, recommend, recommendFile, type Moved, type Query, type Recommendations, type Shown } from "./api";
import { events } from "./events.svelte";
import { place } from "./place.svelte";
import { taste } from "./taste.svelte";
import { visitor } from "./visitor.svelte";

const PAGE = 48;
// The API takes at most 1000 ids to exclude.
const MOST = 900;

/** The videos of the current view, page by page; `change` makes another ranking of it. */
export class Found {
  videos = $state.raw<Shown[]>([]);
  loading = $state(false);
  complete = $state(false);
  error = $state<ApiError | null>(null);
  /** The text that was searched instead of the query. */
  searched = $state("");
  /** The release that answered; 0 for what no release has ranked. */
  release = $state(0);
  #cursor: string | null = null;
  /** The last answer for a known person, which the service continues. */
  #answer: string | null = null;
  #ask = new AbortController();
  readonly #change: () => Query;

  constructor(change: () => Query = () => ({})) {
    this.#change = change;
  }

  /** Start again for another query. What is on screen stays until the first answer. */
  async restart(): Promise<void> {
    this.#ask.abort();
    this.#ask = new AbortController();
    this.#cursor = null;
    this.#answer = null;
    this.complete = false;
    this.searched = "";
    await this.#load(true);
  }

  async more(): Promise<void> {
    if (!this.loading && !this.complete && !this.error) await this.#load(false);
  }

  /** Compare the video at a place with its place in other results; null while those are not known that far. */
  moved(place: number, other: Found): Moved {
    const there = other.places.get(this.videos[place]?.video_id ?? "");
    if (there !== undefined) return there - place;
    return other.complete || place < other.videos.length ? "only" : null;
  }

  readonly places = $derived(new Map(this.videos.map((video, n) => [video.video_id, n])));

  remove(id: string): void {
    this.videos = this.videos.filter((video) => video.video_id !== id);
  }

  async #load(fresh: boolean): Promise<void> {
    const { signal } = this.#ask;
    this.loading = true;
    this.error = null;
    try {
      const page = await this.#page(fresh ? [] : this.videos, signal);
      if (signal.aborted) return;
      const known = new Set(fresh ? [] : this.videos.map((video) => video.video_id));
      const added = page.filter((video) => !known.has(video.video_id));
      this.videos = fresh ? added : [...this.videos, ...added];
    } catch (error) {
      if (signal.aborted) return;
      this.error = error instanceof ApiError ? error : new ApiError(0, String(error));
      if (fresh) this.videos = [];
    }
    this.loading = false;
  }

  async #page(before: Shown[], signal: AbortSignal): Promise<Shown[]> {
    const query = queryOf();
    if (query === "nothing") {
      this.complete = true;
      return [];
    }
    if (query === "all") {
      const page = await list(this.#cursor, filterOf(), signal);
      this.#cursor = page.next_cursor ?? null;
      this.complete = !this.#cursor;
      const skipped = new Set(taste.skips);
      return page.videos.filter((video) => !skipped.has(video.video_id));
    }
    const exclude = [...before.map((video) => video.video_id), ...taste.skips].slice(0, 1000);
    const options = { ...optionsOf(), exclude, ...this.#change() };
    if (query === "person") {
      await events.flush();
      const next = { recommendation_id: this.#answer ?? "", top_k: PAGE };
      const answer = await recommend(this.#answer ? next : { user: visitor.owner, ...options }, signal);
      this.complete = answer.results.length < PAGE;
      return this.#shown(answer);
    }
    const answer = await (query instanceof File
      ? recommendFile(query, options, signal)
      : recommend({ ...query, ...options }, signal));
    this.complete = answer.results.length < PAGE || exclude.length + PAGE > MOST;
    return this.#shown(answer);
  }

  #shown({ recommendation_id, results, searched, release }: Recommendations): Shown[] {
    this.release = release;
    this.#answer = recommendation_id;
    this.searched = searched ?? "";
    return results.map((result) => ({ ...result, recommendation_id }));
  }
}

function queryOf(): Query | File | "all" | "nothing" | "person" {
  if (place.file) return place.file;
  if (place.like) return { video_id: place.like };
  if (place.q.trim()) return { text: place.q.trim(), hybrid: true };
  if (place.view !== "you") return "all";
  if (!taste.simulated && !events.refused) return "person";
  return taste.likes.length ? { user: { history: taste.likes.map((liked) => liked.video_id) } } : "nothing";
}

function optionsOf(): Query {
  const filter = filterOf();
  return { top_k: PAGE, explain: true, ...(place.variety && { diversity: place.variety }), ...(filter && { filter }) };
}

export function filterOf(): Record<string, unknown> | null {
  const filter: Record<string, unknown> = {};
  if (place.category) filter.category = place.category;
  if (place.tag) filter.tags = { any: [place.tag] };
  if (place.within) filter.duration_s = { lte: Number(place.within) };
  for (const [name, value] of Object.entries(place.fields)) if (value) filter[`extra.${name}`] = value;
  return Object.keys(filter).length ? filter : null;
}

const RANKINGS: Record<string, Query> = {
  meaning: { hybrid: false },
  visual: { weights: { visual: 1 } },
  audio: { weights: { audio: 1 } },
  text: { weights: { text: 1 } },
};

/** The other rankings that the current query can have. */
export function rankings(): string[] {
  if (place.file || place.like) return ["visual", "audio", "text"];
  return place.q.trim() ? ["meaning"] : [];
}

/** Whether the current view is an answer, and not a list. */
export function answered(): boolean {
  return !["all", "nothing"].includes(queryOf() as string);
}

/** The release that the visitor compares with; 0 for none. */
export function releaseBeside(): number {
  return Number(/^release-([1-9]\d{0,8})$/.exec(place.beside)?.[1] ?? 0);
}

/** Whether the current view is shown in two versions. */
export function compared(): boolean {
  return place.view !== "status" && (rankings().includes(place.beside) || (releaseBeside() > 0 && answered()));
}

export const found = new Found();
export const beside = new Found(() => RANKINGS[place.beside] ?? { release: releaseBeside() });
