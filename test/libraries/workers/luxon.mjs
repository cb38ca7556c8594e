import { DateTime } from "luxon";
import { Library } from "../library.mjs";

export class Luxon extends Library {
  use(n) {
    return DateTime.fromObject({ year: 2026 }, { zone: "Asia/Tokyo" })
      .plus({ hours: n })
      .setLocale("fr")
      .toLocaleString(DateTime.DATETIME_FULL);
  }
}
