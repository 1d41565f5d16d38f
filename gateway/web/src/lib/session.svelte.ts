/** Who is signed in. Private pages ask this; the cookie itself is out of any script's reach. */

import { ApiError, onSignedOut, session as api, type SessionInfo } from "./api";
import { drafts } from "./draft";
import { socket } from "./socket.svelte";

const ASK_AGAIN_MS = 2_000;

class Session {
  info = $state.raw<SessionInfo | null>(null);
  isKnown = $state(false);

  constructor() {
    onSignedOut(() => (this.info = null));
  }

  get isSignedIn(): boolean {
    return this.info !== null;
  }

  may(scope: string): boolean {
    return this.info?.scopes.includes(scope) ?? false;
  }

  /** Learn who is signed in. A market that can't tell at the moment is asked again: nobody was signed out by that. */
  async find(): Promise<void> {
    let found: SessionInfo | null = null;
    try {
      found = await api.current();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!error.code.startsWith("auth_")) {
        setTimeout(() => !this.isKnown && void this.find(), ASK_AGAIN_MS);
        return;
      }
    }
    if (this.isKnown) return; // who has signed in meanwhile
    this.info = found;
    this.isKnown = true;
  }

  async signIn(login: string, password: string): Promise<void> {
    this.info = await api.signIn(login, password);
    this.isKnown = true;
    socket.restart(); // the socket is whoever the cookie was when it opened
  }

  async signUp(login: string, password: string, name: string): Promise<void> {
    this.info = await api.signUp(login, password, name);
    this.isKnown = true;
    socket.restart();
  }

  async signOut(): Promise<void> {
    await api.signOut();
    drafts.forgetAll();
    this.info = null;
    socket.restart();
  }
}

export const session = new Session();
