/** The families of metrics while they are made, and which names cannot be used. */
export type Labels = Readonly<Record<string, string>>;

/** All series of one metric. */
export interface Family {
  /** Valid for Prometheus. */
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  /** Name and unit for OpenTelemetry, whose exporters for Prometheus make `name` of them. */
  readonly otel: { readonly name: string; readonly unit?: string };
  readonly series: readonly { readonly labels: Labels; readonly value: number }[];
}

/** What is known of a metric; `merge`: how to show a gauge that two have with the same labels. */
export type Known = Pick<Family, "type" | "help" | "otel"> & { readonly merge?: "max" };

/** The families while they are made. */
export class Page {
  readonly #families = new Map<string, Draft>();

  families(): Family[] {
    return Array.from(this.#families, ([name, { known, series }]) => ({
      name,
      type: known.type,
      help: known.help || name,
      otel: known.otel,
      series: Array.from(series.values(), ({ point: { labels }, value }) => ({ labels, value })),
    }));
  }

  /** Which counters it has. */
  counters(): Point[] {
    const counters = [...this.#families.values()].filter(({ known }) => known.type === "counter");
    return counters.flatMap(({ series }) => Array.from(series.values(), ({ point }) => point));
  }

  /** Returns why the name cannot be used; undefined if it can. */
  conflict(name: string, given: string, type: string): string | undefined {
    const family = this.#families.get(name);
    if (!family) return undefined;
    if (family.given !== given)
      return `would be called ${name} for Prometheus, as ${family.given} is already`;
    return family.known.type === type
      ? undefined
      : `is a ${type} here, and elsewhere a ${family.known.type}`;
  }

  has({ name, series }: Point): boolean {
    return this.#families.get(name)?.series.has(series) ?? false;
  }

  set(point: Point, value: number): void {
    const { name, known, given, series } = point;
    let family = this.#families.get(name);
    if (!family) this.#families.set(name, (family = { known, given, series: new Map() }));
    family.series.set(series, { point, value });
  }

  /** For a gauge that two have with the same labels. */
  add(point: Point, value: number): void {
    const { name, known, series } = point;
    const before = this.#families.get(name)?.series.get(series)?.value ?? 0;
    this.set(point, known.merge === "max" ? Math.max(before, value) : before + value);
  }
}

/** Of which metric a value is, and of which of its series. */
export interface Point {
  readonly name: string;
  readonly known: Known;
  /** Its name before it was made valid. */
  readonly given: string;
  readonly series: string;
  readonly labels: Labels;
}

interface Draft {
  readonly known: Known;
  /** Its name before it was made valid. */
  readonly given: string;
  readonly series: Map<string, { readonly point: Point; readonly value: number }>;
}

/** All series of one metric, without values, as plain data. */
export interface AllSeries extends Pick<Point, "name" | "known" | "given"> {
  readonly labels: readonly Labels[];
}

export function seriesByName(points: Iterable<Point>): AllSeries[] {
  const all = new Map<string, AllSeries & { readonly labels: Labels[] }>();
  for (const { name, known, given, labels } of points) {
    const metric = all.get(name);
    if (metric) metric.labels.push(labels);
    else all.set(name, { name, known, given, labels: [labels] });
  }
  return [...all.values()];
}

export function pointsOf(all: readonly AllSeries[]): Point[] {
  return all.flatMap(({ labels, ...metric }) =>
    labels.map((each) => ({ ...metric, labels: each, series: seriesOf(metric.name, each) })),
  );
}

export function seriesOf(name: string, labels: Labels): string {
  return `${name} ${JSON.stringify(labels)}`;
}
