/** What the market says of itself once: its time zone and clock, whether its money is simulated, whether anybody may sign up. */

import { ApiError, market } from "./api";
import { dateIn } from "./zone";

class StatusInfo {
  isSimulated = $state(false);
  maySignUp = $state(false);
  /** IANA name; null until it is known. */
  zone = $state<string | null>(null);
  #ahead = 0; // of this machine's clock, ms

  async find(): Promise<void> {
    try {
      const told = await market.status();
      this.isSimulated = told.simulated ?? false;
      this.maySignUp = told.sign_up ?? false;
      this.zone = told.time_zone ?? null;
      this.#ahead = Date.parse(told.server_time) - Date.now();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** Today by the market's clock, or null while its time zone is not known. */
  get today(): string | null {
    return this.zone && dateIn(this.zone, Date.now() + this.#ahead);
  }
}

export const statusInfo = new StatusInfo();
