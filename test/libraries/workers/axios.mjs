import axios from "axios";
import { Library } from "../library.mjs";

export class Axios extends Library {
  async use(n) {
    const { data } = await axios.get(`${process.env.HTTP_URL}/price/${n}`);
    return data;
  }
}
