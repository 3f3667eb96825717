/** Where the visitor is: in the address, so that every view can be sent to somebody. */
export type View = "explore" | "you" | "status";

class Place {
  view = $state<View>("explore");
  q = $state("");
  like = $state("");
  category = $state("");
  tag = $state("");
  within = $state("");
  fields = $state<Record<string, string>>({});
  variety = $state(0);
  /** Another ranking of the same query, shown beside the first. */
  beside = $state("");
  file = $state<File | null>(null);

  constructor() {
    this.#read();
    addEventListener("popstate", () => this.#read());
  }

  /** Change parts of the place. A change that is typed replaces the entry of the history. */
  go(to: Partial<Omit<Place, "go" | "path">>, typed = false): void {
    Object.assign(this, to);
    const path = this.path();
    if (path === location.pathname + location.search) return;
    history[typed ? "replaceState" : "pushState"](null, "", path);
    if (!typed && ("like" in to || "view" in to)) scrollTo({ top: 0 });
  }

  path(): string {
    const query = new URLSearchParams();
    if (this.view === "you") query.set("view", "you");
    for (const name of ["q", "like", "category", "tag", "within"] as const) if (this[name]) query.set(name, this[name]);
    for (const [name, value] of Object.entries(this.fields)) if (value) query.set(`extra.${name}`, value);
    if (this.variety) query.set("variety", String(this.variety));
    if (this.beside) query.set("beside", this.beside);
    const text = query.toString();
    return (this.view === "status" ? "/status" : "/") + (text ? `?${text}` : "");
  }

  #read(): void {
    const query = new URLSearchParams(location.search);
    this.view = location.pathname === "/status" ? "status" : query.get("view") === "you" ? "you" : "explore";
    for (const name of ["q", "like", "category", "tag", "within"] as const) this[name] = query.get(name) ?? "";
    this.beside = query.get("beside") ?? "";
    this.variety = Number(query.get("variety") ?? 0) || 0;
    const extra = [...query].filter(([name]) => name.startsWith("extra."));
    this.fields = Object.fromEntries(extra.map(([name, value]) => [name.slice(6), value]));
    this.file = null;
  }
}

export const place = new Place();
