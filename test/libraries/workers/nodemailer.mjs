import nodemailer from "nodemailer";
import { Library, digest } from "../library.mjs";

export class Nodemailer extends Library {
  async use(n) {
    const mail = {
      from: "a@example.com",
      to: "b@example.com",
      subject: `Item ${n}`,
      text: "x",
      messageId: `<${n}@x>`,
      date: new Date(0),
    };
    const { message } = await nodemailer
      .createTransport({ streamTransport: true, buffer: true })
      .sendMail(mail);
    return digest(message);
  }
}
