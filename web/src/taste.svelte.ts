import type { Shown } from "./api";

const STORED = "rayreel_taste";
type Liked = Pick<Shown, "video_id" | "title" | "category" | "poster_url">;

/** What the visitor likes and skips. It stays in this browser; a query sends the ids of the liked videos. */
class Taste {
  likes = $state<Liked[]>([]);
  skips = $state<string[]>([]);
  label = $state("");

  constructor() {
    try {
      const stored = JSON.parse(localStorage.getItem(STORED) ?? "{}");
      this.likes = stored.likes ?? [];
      this.skips = stored.skips ?? [];
      this.label = stored.label ?? "";
    } catch {
      localStorage.removeItem(STORED);
    }
  }

  has(id: string): boolean {
    return this.likes.some((liked) => liked.video_id === id);
  }

  toggle(video: Shown): void {
    const { video_id, title, category, poster_url } = video;
    this.likes = this.has(video_id)
      ? this.likes.filter((liked) => liked.video_id !== video_id)
      : [...this.likes, { video_id, title, category, poster_url }];
    this.label = "";
    this.#keep();
  }

  skip(id: string): void {
    this.likes = this.likes.filter((liked) => liked.video_id !== id);
    this.skips = [...this.skips, id].slice(-500);
    this.#keep();
  }

  become(likes: Liked[], label: string): void {
    this.likes = likes;
    this.skips = [];
    this.label = label;
    this.#keep();
  }

  #keep(): void {
    localStorage.setItem(STORED, JSON.stringify({ likes: this.likes, skips: this.skips, label: this.label }));
  }
}

export const taste = new Taste();
