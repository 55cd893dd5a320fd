import { functions } from "elanus-plugin";

const EARTH = 6371.0088; // mean radius in kilometres (IUGG)
const radians = (degrees) => (degrees * Math.PI) / 180;

export const scalarFunctions = functions({
  name: "web",
  version: "1.0.0",
  functions: {
    slug: {
      description: "A text as a part of an address: 'Crème Brûlée' becomes 'creme-brulee'.",
      takes: { text: "text" },
      returns: "text",
      call: (text) =>
        text
          .normalize("NFKD")
          .toLowerCase()
          .replace(/[\u0300-\u036f]/g, "")
          .replace(/[^a-z0-9]+/g, "-")
          .replace(/^-|-$/g, ""),
    },
    kilometres: {
      description: "Kilometres between two places in degrees.",
      takes: { latitude1: "f64s", longitude1: "f64s", latitude2: "f64s", longitude2: "f64s" },
      returns: "f64s",
      call(latitude1, longitude1, latitude2, longitude2) {
        // Sinnott (1984): exact also for places close to each other.
        const half = (difference) => Math.sin(radians(difference) / 2) ** 2;
        const chord =
          half(latitude2 - latitude1) +
          Math.cos(radians(latitude1)) * Math.cos(radians(latitude2)) * half(longitude2 - longitude1);
        return 2 * EARTH * Math.asin(Math.sqrt(Math.min(1, chord)));
      },
    },
    first_of: {
      description: "The first of the two that is not null.",
      takes: { a: "text", b: "text" },
      returns: "text",
      nulls: true,
      call: (a, b) => a ?? b,
    },
  },
});
