import { addDays, format } from "date-fns";
import { Library } from "../library.mjs";

export class DateFns extends Library {
  use(n) {
    return format(addDays(new Date(2026, 0, 1), n), "EEEE d MMMM yyyy");
  }
}
