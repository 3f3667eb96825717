const STORED = "rayreel_visitor";

/** A random id. `crypto.randomUUID` does not exist on pages that came over plain HTTP from another machine. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Who uses this tab: a visit without a name, which becomes a user's when they say who they are. */
class Visitor {
  user = $state("");
  session = $state("");

  constructor() {
    const [session, user] = (sessionStorage.getItem(STORED) ?? "").split(" ");
    this.#keep(session || newId(), decodeURIComponent(user ?? ""));
  }

  /** As requests and events name them. */
  get owner(): { session_id: string; user_id?: string } {
    return { session_id: this.session, ...(this.user && { user_id: this.user }) };
  }

  become(user: string): void {
    this.#keep(this.session, user);
  }

  /** Begin another visit: the last one may belong to a user by now. */
  leave(): void {
    this.#keep(newId(), "");
  }

  #keep(session: string, user: string): void {
    this.session = session;
    this.user = user;
    sessionStorage.setItem(STORED, `${session} ${encodeURIComponent(user)}`);
  }
}

export const visitor = new Visitor();
