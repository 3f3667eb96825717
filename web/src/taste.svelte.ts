import { opinionsOf, video as load, type Shown } from "./api";
import { events } from "./events.svelte";
import { visitor } from "./visitor.svelte";

const STORED = "rayreel_taste";
// The most videos whose titles and pictures are loaded for a user.
const SHOWN = 12;
// Ratings up to half of the stars are no likes.
const NEUTRAL = 2.5;
type Liked = Pick<Shown, "video_id" | "title" | "category" | "poster_url">;

/** What the visitor likes and skips, as this tab shows it. The service keeps it as events, unless they are simulated. */
class Taste {
  likes = $state<Liked[]>([]);
  skips = $state<string[]>([]);
  /** What a simulated viewer likes; empty for a real one. */
  simulated = $state("");

  constructor() {
    try {
      const stored = JSON.parse(sessionStorage.getItem(STORED) ?? "{}");
      this.likes = stored.likes ?? [];
      this.skips = stored.skips ?? [];
      this.simulated = stored.simulated ?? "";
    } catch {
      sessionStorage.removeItem(STORED);
    }
  }

  has(id: string): boolean {
    return this.likes.some((liked) => liked.video_id === id);
  }

  toggle(video: Shown): void {
    const { video_id, title, category, poster_url } = video;
    const liked = this.has(video_id);
    this.#tell(liked ? "unlike" : "like", video);
    this.likes = liked
      ? this.likes.filter((other) => other.video_id !== video_id)
      : [...this.likes, { video_id, title, category, poster_url }];
    this.#keep();
  }

  skip(video: Shown): void {
    this.#tell("skip", video);
    this.likes = this.likes.filter((liked) => liked.video_id !== video.video_id);
    this.skips = [...this.skips, video.video_id].slice(-500);
    this.#keep();
  }

  simulate(likes: Liked[], as: string): void {
    visitor.leave();
    this.#become(likes, as);
  }

  forget(): void {
    visitor.leave();
    this.#become([], "");
  }

  /** Go on as a user. This visit becomes theirs, and what they liked before is shown. */
  async signIn(user: string): Promise<void> {
    if (this.simulated) this.forget();
    visitor.become(user);
    await events.flush();
    const opinions = await opinionsOf(user, visitor.session);
    if (!opinions) return;
    const liked = [...opinions].filter(([, { type, value }]) => type === "like" || type === "share" || (value ?? 0) > NEUTRAL);
    const videos = await Promise.allSettled(liked.slice(-SHOWN).map(([id]) => load(id)));
    this.#become(videos.flatMap((found) => (found.status === "fulfilled" ? [found.value] : [])), "");
  }

  #tell(...event: Parameters<typeof events.record>): void {
    if (!this.simulated) events.record(...event);
  }

  #become(likes: Liked[], simulated: string): void {
    this.likes = likes;
    this.skips = [];
    this.simulated = simulated;
    this.#keep();
  }

  #keep(): void {
    const { likes, skips, simulated } = this;
    sessionStorage.setItem(STORED, JSON.stringify({ likes, skips, simulated }));
  }
}

export const taste = new Taste();
