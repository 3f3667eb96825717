import type { components } from "./schema";

type Schemas = components["schemas"];
export type Video = Schemas["Video"];
export type Result = Schemas["Result"];
export type Facets = Schemas["Facets"];
export type Ready = Schemas["Ready"];
export type Release = Schemas["Release"];
export type Job = Schemas["Job"];
export type Operations = Schemas["Operations"];
export type KeptRelease = Schemas["KeptRelease"];
export type Load = Schemas["ReplicaLoad"];
export type Recommendations = Schemas["Recommendations"];
type Kept = Schemas["KeptEvent"];

/** What the page asks for, a part of the API's RecommendRequest, whose rules between fields TypeScript cannot express. */
export interface Query {
  video_id?: string;
  text?: string;
  user?: { history?: string[]; session_id?: string; user_id?: string };
  recommendation_id?: string;
  top_k?: number;
  filter?: Record<string, unknown> | null;
  exclude?: string[];
  diversity?: number;
  hybrid?: boolean;
  weights?: Partial<Record<"visual" | "audio" | "text", number>>;
  explain?: boolean;
  release?: number;
}

/** Something that a person saw or did, as `POST /v1/events` takes it. */
export interface PersonEvent {
  event_id: string;
  session_id: string;
  user_id?: string;
  video_id: string;
  type: "impression" | "view" | "like" | "unlike" | "skip";
  value?: number;
  recommendation_id?: string;
}

/** A video in the grid: one of the catalog, or a result with a score and the answer that it is in. */
export type Shown = Pick<
  Video,
  "video_id" | "title" | "category" | "has_video" | "poster_url" | "sheet_url" | "media_url"
> & { duration_s?: number | null; score?: number; cosine?: number | null; explanation?: Result["explanation"]; recommendation_id?: string };

/** How a result stands in comparison with the other side: nowhere there, or this many places higher (below 0: lower). */
export type Moved = "only" | number | null;

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const STORED = "rayreel_key";
const OPINIONS = new Set(["like", "dislike", "hide", "share", "rating", "unlike"]);

export function key(): string {
  return sessionStorage.getItem(STORED) ?? "";
}

/** Keep a key for this tab. The cookie is for pictures and videos, whose elements cannot send a header. */
export function useKey(value: string): void {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  if (value) sessionStorage.setItem(STORED, value);
  else sessionStorage.removeItem(STORED);
  document.cookie = `${STORED}=${value}; Path=/v1; SameSite=Strict${secure}${value ? "" : "; Max-Age=0"}`;
}

export async function call<T>(path: string, options: RequestInit = {}): Promise<T> {
  const headers = new Headers(options.headers);
  if (key()) headers.set("Authorization", `Bearer ${key()}`);
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return (answer.status === 204 ? null : await answer.json()) as T;
  const problem = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, problem.detail ?? answer.statusText);
}

export function json(content: unknown): RequestInit {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) };
}

export function recommend(query: Query, signal?: AbortSignal): Promise<Recommendations> {
  return call("/v1/recommend", { ...json(query), signal });
}

/** Store events. With `leaving`, the request goes on when the page is left. */
export async function store(events: PersonEvent[], leaving: boolean): Promise<void> {
  await call("/v1/events", { ...json({ events }), keepalive: leaving });
}

/** The last opinion that a user has of each video, oldest first; null if the key may not read what is kept of users. */
export async function opinionsOf(user_id: string, session_id: string): Promise<Map<string, Kept> | null> {
  await recommend({ user: { user_id, session_id }, top_k: 1 }); // from now on, the visit is theirs
  const opinions = new Map<string, Kept>();
  try {
    for (let cursor: string | null | undefined = "0"; cursor; ) {
      const page: Schemas["Person"] = await call(`/v1/users/${encodeURIComponent(user_id)}?limit=10000&cursor=${cursor}`);
      for (const event of page.events.filter(({ type }) => OPINIONS.has(type))) {
        opinions.delete(event.video_id);
        opinions.set(event.video_id, event);
      }
      cursor = page.next_cursor;
    }
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) return null;
    throw error;
  }
  return opinions;
}

export function recommendFile(file: File, options: Query, signal?: AbortSignal): Promise<Recommendations> {
  const form = new FormData();
  form.set("file", file);
  for (const [name, value] of Object.entries(options)) {
    if (Array.isArray(value)) value.forEach((item) => form.append(name, String(item)));
    else form.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return call("/v1/recommend/upload", { method: "POST", body: form, signal });
}

export function list(cursor: string | null, filter: Query["filter"], signal?: AbortSignal): Promise<Schemas["VideoPage"]> {
  const query = new URLSearchParams({ limit: "60" });
  if (cursor) query.set("cursor", cursor);
  if (filter) query.set("filter", JSON.stringify(filter));
  return call(`/v1/videos?${query}`, { signal });
}

export function video(id: string, signal?: AbortSignal): Promise<Video> {
  return call(`/v1/videos/${encodeURIComponent(id)}`, { signal });
}
