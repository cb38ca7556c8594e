/**
 * The live state, for all open pages: one watch of the source, which runs while a page is open, and what a page that opens later has
 * missed: the plots of the last two minutes and the recent events.
 */
import type { ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { clearTimeout, setTimeout } from "../../system/timers.js";
import type { DashboardSource, SupervisionEvent, SupervisionState } from "../supervision-state.js";
import { PageStream } from "./page-stream.js";

/** Pages show no more of either. */
const MAX_EVENTS = 200;
const HISTORY_MS = 125_000;
/** Changes that follow each other faster are shown together: all instances of a container may restart at once. */
const MIN_PAUSE_MS = 200;
/** The plots of a page that is reloaded go on. */
const LINGER_MS = 10_000;
/** After an error of the source. */
const RETRY_MS = 1000;

/** What the plots show of one state: memory and CPU of each instance, with its generation, by `<pool>/<num>`. */
interface Sample {
  readonly time: number;
  readonly values: Readonly<Record<string, readonly [number, number | null, number | null]>>;
}

export class LiveState {
  readonly #source: DashboardSource;
  readonly #pages = new Set<PageStream>();
  #samples: Sample[] = [];
  #events: SupervisionEvent[] = [];
  #latest: SupervisionState | undefined;
  #problem: string | undefined;
  #watch: AbortController | undefined;
  #lingering: NodeJS.Timeout | undefined;
  /** Runs while no state is sent, as one was just now; and the one that waits. */
  #pause: NodeJS.Timeout | undefined;
  #pending: SupervisionState | undefined;
  #isClosed = false;

  constructor(source: DashboardSource) {
    this.#source = source;
  }

  /** Sends everything to this page, from now on. */
  join(response: ServerResponse): void {
    clearTimeout(this.#lingering);
    // What waits for the others is part of what this page has missed.
    this.#sendPending();
    const page = new PageStream(response, () => this.#leave(page));
    this.#pages.add(page);
    this.#sendMissed(page);
    if (this.#watch) return;
    this.#watch = new AbortController();
    void this.#follow(this.#watch.signal);
  }

  /** Shows a text on all pages. */
  notify(notice: { readonly text: string; readonly isError: boolean }): void {
    for (const page of this.#pages) page.send("notice", notice);
  }

  close(): void {
    this.#isClosed = true;
    this.#stop();
    for (const page of this.#pages) page.end();
  }

  #leave(page: PageStream): void {
    this.#pages.delete(page);
    if (this.#pages.size > 0 || this.#isClosed) return;
    this.#lingering = setTimeout(() => this.#stop(), LINGER_MS).unref();
  }

  #stop(): void {
    clearTimeout(this.#lingering);
    clearTimeout(this.#pause);
    this.#pause = this.#pending = undefined;
    this.#watch?.abort();
    this.#watch = undefined;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#followOnce(signal);
        this.#tellProblem("The supervisor has ended.", signal);
      } catch (error) {
        this.#tellProblem(error instanceof Error ? error.message : String(error), signal);
      }
      await delay(RETRY_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  async #followOnce(signal: AbortSignal): Promise<void> {
    let isFirst = true;
    for await (const state of this.#source.watch(signal)) {
      if (signal.aborted) return;
      this.#problem = undefined;
      this.#latest = state;
      this.#keep(state, isFirst);
      if (isFirst) {
        this.#pending = undefined;
        for (const page of this.#pages) this.#sendMissed(page);
      } else {
        this.#sendSoon(state);
      }
      isFirst = false;
    }
  }

  /** A state that follows another closely waits, and the next takes its place. */
  #sendSoon(state: SupervisionState): void {
    if (this.#pause) {
      const events = [...(this.#pending?.events ?? []), ...state.events].slice(-MAX_EVENTS);
      this.#pending = { ...state, events };
      return;
    }
    for (const page of this.#pages) page.send("state", state);
    this.#pause = setTimeout(() => this.#sendPending(), MIN_PAUSE_MS).unref();
  }

  #sendPending(): void {
    clearTimeout(this.#pause);
    const pending = this.#pending;
    this.#pause = this.#pending = undefined;
    if (pending) this.#sendSoon(pending);
  }

  #keep(state: SupervisionState, isFirst: boolean): void {
    // A watch begins with the recent events, which another has yielded before.
    this.#events = [...(isFirst ? [] : this.#events), ...state.events].slice(-MAX_EVENTS);
    const values = state.instances.map(
      ({ pool = "", num, generation, memory = null, cpu = null }) =>
        [`${pool}/${num}`, [generation, memory, cpu]] as const,
    );
    this.#samples.push({ time: state.time, values: Object.fromEntries(values) });
    const kept = this.#samples.findIndex(({ time }) => time > state.time - HISTORY_MS);
    this.#samples.splice(0, kept);
  }

  #sendMissed(page: PageStream): void {
    if (this.#latest) {
      page.send("history", { samples: this.#samples.slice(0, -1) });
      page.send("state", { ...this.#latest, events: this.#events });
    }
    if (this.#problem !== undefined) page.send("problem", { text: this.#problem });
  }

  #tellProblem(text: string, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#problem = text;
    for (const page of this.#pages) page.send("problem", { text });
  }
}
