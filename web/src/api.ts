import type { components } from "./schema";

type Schemas = components["schemas"];
export type Video = Schemas["Video"];
export type Result = Schemas["Result"];
export type Facets = Schemas["Facets"];
export type Ready = Schemas["Ready"];
export type Release = Schemas["Release"];
export type Operations = Schemas["Operations"];

/** What the page asks for, a part of the API's RecommendRequest, whose rules between fields TypeScript cannot express. */
export interface Query {
  video_id?: string;
  text?: string;
  user?: { history: string[] };
  top_k?: number;
  filter?: Record<string, unknown> | null;
  exclude?: string[];
  diversity?: number;
  hybrid?: boolean;
  explain?: boolean;
}

/** A video in the grid: one of the catalog, or a result with a score. */
export type Shown = Pick<
  Video,
  "video_id" | "title" | "category" | "has_video" | "poster_url" | "sheet_url" | "media_url"
> & { duration_s?: number | null; score?: number; cosine?: number | null; explanation?: Result["explanation"] };

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const STORED = "rayreel_key";

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

export function recommend(query: Query, signal?: AbortSignal): Promise<Schemas["Recommendations"]> {
  const headers = { "Content-Type": "application/json" };
  return call("/v1/recommend", { method: "POST", headers, body: JSON.stringify(query), signal });
}

export function recommendFile(file: File, options: Query, signal?: AbortSignal): Promise<Schemas["Recommendations"]> {
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
