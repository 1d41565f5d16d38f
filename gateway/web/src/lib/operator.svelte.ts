/** What the operator's forms share: the reason that every action is recorded with. */

class Why {
  reason = $state("");

  get isGiven(): boolean {
    return this.reason.trim() !== "";
  }
}

export const why = new Why();

export function submitted(run: () => unknown): (event: SubmitEvent) => void {
  return (event) => {
    event.preventDefault();
    run();
  };
}
