// The quick start of the official Node SDK: node quick_start.js HOST:PORT COLLECTION. Prints one line of JSON.
const { MilvusClient } = require('@zilliz/milvus2-sdk-node');

async function main(address, collection_name) {
  const client = new MilvusClient({ address });
  await client.connectPromise;

  const ok = answer => {
    const status = answer.status ?? answer;
    if (status.error_code && status.error_code !== 'Success') {
      throw new Error(JSON.stringify(status));
    }
    return answer;
  };

  ok(await client.createCollection({ collection_name, dimension: 4, metric_type: 'L2' }));
  const inserted = ok(
    await client.insert({
      collection_name,
      data: [
        { id: 1, vector: [9, 0, 0, 0], color: 'red' },
        { id: 2, vector: [1, 0, 0, 0], color: 'green' },
        { id: 3, vector: [2, 0, 0, 0], color: 'blue' },
      ],
    })
  );
  const nearest = ok(
    await client.search({
      collection_name,
      data: [[1, 0, 0, 0]],
      limit: 3,
      output_fields: ['id', 'color'],
      consistency_level: 'Strong',
    })
  );
  const filtered = ok(
    await client.search({
      collection_name,
      data: [[1, 0, 0, 0]],
      limit: 3,
      filter: 'color == "red"',
      consistency_level: 'Strong',
    })
  );
  const counted = ok(
    await client.query({ collection_name, filter: '', output_fields: ['count(*)'], consistency_level: 'Strong' })
  );
  ok(await client.dropCollection({ collection_name }));
  await client.closeConnection();
  console.log(
    JSON.stringify({
      inserted: String(inserted.insert_cnt),
      nearest: nearest.results.map(hit => ({ id: String(hit.id), color: hit.color })),
      filtered: filtered.results.map(hit => String(hit.id)),
      rows: String(counted.data[0]['count(*)']),
    })
  );
}

main(...process.argv.slice(2)).then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  }
);
