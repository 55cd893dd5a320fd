import { Refused, byScore, columnNamedBy, integer, number, relevance, reranker, text } from "elanus-plugin";

export const reranking = reranker({
  name: "diversity",
  version: "1.0.0",
  description: "Not too many of one group: each beyond the first few counts less than the one before.",
  columns: [columnNamedBy("column", "text")],
  parameters: {
    column: text(undefined, "The column with the group, for instance a brand."),
    most: integer(2, "How many of a group count fully."),
    factor: number(0.5, "How much each further one counts beside the one before, 0 to 1."),
  },

  prepare(parameters) {
    const { most, factor } = parameters;
    if (most < 1) throw new Refused(`most is ${most}, at least 1 is allowed`);
    if (!(factor >= 0 && factor <= 1)) throw new Refused(`factor is ${factor}, 0 to 1 are allowed`);
    return parameters;
  },

  rerank({ distances, columns: [group] }, request, { most, factor }) {
    const seen = new Map();
    const scores = Array.from(distances, (distance, at) => {
      if (!group.isThere(at)) return relevance(distance);
      const before = seen.get(group.rows[at]) ?? 0;
      seen.set(group.rows[at], before + 1);
      return relevance(distance) * factor ** Math.max(0, before + 1 - most);
    });
    return byScore(scores);
  },
});
