/** The log lines at hand: the newest ones as they come, or earlier ones that were asked for; never more than KEPT_LINES. */

import { answer, api } from "../../api/client";
import type { LogEvent } from "../../api/types";
import { subscribe } from "../../charts/listeners";

export const KEPT_LINES = 5000;
const PAGE_LINES = 1000;
const TELL_MILLISECONDS = 200;

export type Line = Pick<LogEvent, "sequence" | "line">;
export type Lines = { items: Line[]; earlier: boolean; newest: boolean };

/** The whole log of one attempt as text, page by page. */
export async function wholeLog(jobId: string, attempt: number): Promise<string> {
  const lines: string[] = [];
  for (let after: number | null = 0; after !== null; ) {
    const query: { attempt: number; after: number; limit: number } = { attempt, after, limit: KEPT_LINES };
    const page = await answer(
      api.GET("/api/jobs/{job_id}/logs", { params: { path: { job_id: jobId }, query } }),
    );
    lines.push(...page.items.map((item) => `${item.line}\n`));
    after = page.next_after;
  }
  return lines.join("");
}

export class LogLines {
  private items: Line[] = [];
  private earlier = true;
  private newest = true;
  private opened = false;
  private kept: Lines = { items: [], earlier: true, newest: true };
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly jobId: string) {}

  onChange = (listener: () => void) => subscribe(this.listeners, listener);
  snapshot = () => this.kept;

  add(event: LogEvent) {
    // Somebody reads earlier lines: the newest come back with loadNewest().
    if (!this.newest || event.sequence <= (this.items.at(-1)?.sequence ?? 0)) return;
    this.items.push({ sequence: event.sequence, line: event.line });
    if (this.items.length > KEPT_LINES) {
      this.items.splice(0, this.items.length - KEPT_LINES);
      this.earlier = true;
    }
    this.timer ??= setTimeout(() => this.tell(), TELL_MILLISECONDS);
  }

  clear() {
    this.items = [];
    this.earlier = this.newest = true;
    this.tell();
  }

  /** The end of the log, as the server has it. Lines that came meanwhile stay, and earlier ones unless some between are missing. */
  async loadNewest() {
    this.opened = true;
    const found = await this.before(2 ** 31 - 1);
    const first = found[0]?.sequence ?? 0;
    const last = found.at(-1)?.sequence ?? 0;
    const later = this.newest ? this.items.filter((line) => line.sequence > last) : [];
    const joined = this.newest && this.items.some((line) => line.sequence === first);
    const before = joined ? this.items.filter((line) => line.sequence < first) : [];
    this.items = [...before, ...found, ...later];
    this.newest = true;
    if (before.length === 0) this.earlier = found.length === PAGE_LINES;
    this.tell();
  }

  /** After a while without events: the lines that were missed, where somebody reads the end of the log. */
  async catchUp() {
    if (this.opened && this.newest) await this.loadNewest().catch(() => undefined); // it can be loaded again by hand
  }

  /** A page of lines before the first one at hand; the newest ones go if there are too many. */
  async loadEarlier() {
    const found = await this.before(this.items[0]?.sequence ?? 2 ** 31 - 1);
    this.items = [...found, ...this.items];
    this.earlier = found.length === PAGE_LINES;
    if (this.items.length > KEPT_LINES) {
      this.items.length = KEPT_LINES;
      this.newest = false;
    }
    this.tell();
  }

  private async before(before: number): Promise<Line[]> {
    const params = { path: { job_id: this.jobId }, query: { before, limit: PAGE_LINES } };
    return (await answer(api.GET("/api/jobs/{job_id}/logs", { params }))).items;
  }

  private tell() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.kept = { items: [...this.items], earlier: this.earlier, newest: this.newest };
    for (const listener of this.listeners) listener();
  }
}
