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

  async signIn(login: string, password: string): Promise<void> {
    this.info = await api.signIn(login, password);
    socket.restart(); // the socket is whoever the cookie was when it opened
  }

  async signUp(login: string, password: string, name: string): Promise<void> {
    this.info = await api.signUp(login, password, name);
    socket.restart();
  }

  async signOut(): Promise<void> {
    await api.signOut();
    this.info = null;
    socket.restart();
  }
}

export const session = new Session();
