/** Who is signed in. Private pages ask this; the cookie itself is out of any script's reach. */

import { ApiError, onSignedOut, session as api, type SessionInfo } from "./api";
import { socket } from "./socket.svelte";

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

  async find(): Promise<void> {
    try {
      this.info = await api.current();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.info = null;
    }
    this.isKnown = true;
  }

  async signIn(body: Record<string, string>): Promise<void> {
    this.info = await api.signIn(body);
    socket.restart();
  }

  async signOut(): Promise<void> {
    await api.signOut();
    this.info = null;
    socket.restart();
  }
}

export const session = new Session();
