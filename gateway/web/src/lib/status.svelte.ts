/** What the market says of itself once: whether its money is simulated, and whether anybody may sign up. */

import { ApiError, market } from "./api";

class StatusInfo {
  isSimulated = $state(false);
  maySignUp = $state(false);

  async find(): Promise<void> {
    try {
      const told = await market.status();
      this.isSimulated = told.simulated ?? false;
      this.maySignUp = told.sign_up ?? false;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }
}

export const statusInfo = new StatusInfo();
