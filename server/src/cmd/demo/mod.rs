//! `elanus demo`: the whole of Elanus in a few seconds on real data. It starts a server like any other (on free ports,
//! in a temporary directory), talks to it in SQL and through the Milvus door with the official SDK, and checks that both
//! give the same answers. What it claims, it checks: a wrong result is an error and exit code 1.

mod client;
mod digits;
mod report;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use elanus_index::gpu::DeviceList;
use elanus_index::{Metric, SearchStats, Vectors, exact_search};
use elanus_query::{Engine, SqlOutput};

use self::client::Client;
use self::digits::{Digits, PIXELS};
use self::report::Report;
use super::sql::render;
use crate::server::Server;
use crate::settings::{Address, Services, Settings};
use crate::shutdown::Signals;
use crate::{console, logging};

const DATABASE: &str = "default";
const TABLE: &str = "digits";
const CREATE_TABLE: &str = "CREATE TABLE digits (id BIGINT PRIMARY KEY, label BIGINT, vector VECTOR(64))";
const CREATE_INDEX: &str = "CREATE INDEX digits_hnsw ON digits USING HNSW (vector vector_l2_ops) WITH (m = 8, ef_construction = 200)";
/// Every sixth image is classified by its five nearest among the others.
const CLASSIFY: &str = "
WITH neighbours AS (
  SELECT test.id, test.label, known.label AS vote,
         row_number() OVER (PARTITION BY test.id ORDER BY l2_distance(test.vector, known.vector)) AS rank
  FROM digits test JOIN digits known ON known.id % 6 <> test.id % 6 WHERE test.id % 6 = 0),
votes AS (
  SELECT id, label, vote,
         row_number() OVER (PARTITION BY id ORDER BY count(*) DESC, min(rank)) AS place
  FROM neighbours WHERE rank <= 5 GROUP BY id, label, vote)
SELECT count(*) AS images, avg(CASE WHEN vote = label THEN 1.0 ELSE 0.0 END) AS accuracy
FROM votes WHERE place = 1";
/// Neighbours asked for.
const K: usize = 10;
/// HNSW's breadth of search, SQL's default. With `m = 8` this walks the graph even on a set this small.
const EF: usize = 64;
/// A breadth at which the graph is left with its quickest guess.
const NARROW_EF: usize = K;
/// Queries of the recall measurement.
const RECALL_QUERIES: usize = 200;
/// The image whose neighbours are looked for.
const QUERY: usize = 1234;

/// Runs the demo. Ctrl-C ends it too, and its directory is removed all the same.
///
/// # Errors
/// Any step that fails or gives another answer than expected.
pub async fn run() -> anyhow::Result<()> {
    logging::start("error")?;
    let mut signals = Signals::catch()?;
    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    tokio::select! {
        shown = Box::pin(show(directory.path())) => shown,
        signal = signals.next() => bail!("stopped by {signal}"),
    }
}

async fn show(directory: &Path) -> anyhow::Result<()> {
    let settings = Settings {
        data: directory.join("data").display().to_string(),
        milvus_addr: Address::free_loopback_port(),
        flight_addr: Address::free_loopback_port(),
        http_addr: Address::free_loopback_port(),
        insecure: false,
        auth: false,
        root_password: None,
        memory_limit: None,
        build_memory_limit: None,
        sql_memory_limit: None,
        allow_files: Vec::new(),
        services: Services::default(),
        allow_plugins: false,
        plugin_keys: None,
        analyzer_dictionaries: None,
        gpu_fallback: false,
        gpu_batch_wait: None,
        gpu_devices: DeviceList::default(),
        gpu_memory_limit: None,
        threads: None,
        log: String::new(),
    };
    console::line(
        "Elanus: Milvus clients and SQL over the same vectors. Data: 1,797 handwritten digits of 8 x 8 pixels",
    );
    console::line("(UCI Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, CC BY 4.0).");
    let mut report = Report::start();

    report.heading("A server on free ports, in a temporary directory");
    let since = Instant::now();
    let server = Box::pin(Server::start(&settings)).await?;
    report.done(
        format!(
            "milvus door on {}, http door on {}",
            server.milvus_addr(),
            server.http_addr()
        ),
        since,
    );

    let told = Box::pin(tell(&server, &mut report)).await;
    Box::pin(server.stop()).await?;
    told?;
    report.finish();
    Ok(())
}

async fn tell(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let engine = server.engine();
    let digits = Digits::load()?;
    let query = digits.image(QUERY)?;

    report.heading("A table from SQL, filled by a Milvus client");
    statement(engine, report, CREATE_TABLE).await?;
    let since = Instant::now();
    let client = Client::connect(server.milvus_addr(), TABLE).await?;
    let inserted = client.insert(&digits).await?;
    ensure!(
        inserted == digits.len() as i64,
        "{inserted} of {} rows were inserted",
        digits.len()
    );
    report.done(format!("milvus> insert({inserted} rows); flush()"), since);

    report.heading("An HNSW index");
    let since = Instant::now();
    statement(engine, report, CREATE_INDEX).await?;
    wait_for_index(engine).await?;
    client.load().await?;
    report.done("built and loaded", since);

    both_doors(engine, report, &client, &digits, query).await?;
    filtered(engine, report, &client, query).await?;
    grouped(engine, report, query).await?;
    classify(engine, report).await?;
    recall(report, &client, &digits).await
}

/// The same search in SQL and through the Milvus door, and the plan behind it.
async fn both_doors(
    engine: &Engine,
    report: &mut Report,
    client: &Client,
    digits: &Digits,
    query: &[f32],
) -> anyhow::Result<()> {
    report.heading("The same search through both doors");
    let search = format!(
        "SELECT id, label, vector <-> {} AS distance FROM digits ORDER BY distance LIMIT {K}",
        literal(query)
    );
    report.statement(&short(&search));
    let since = Instant::now();
    let output = sql(engine, &search).await?;
    let sql_ids = ids(&output)?;
    report.text(table(&output)?);
    report.done("in SQL", since);

    let since = Instant::now();
    let hits = client
        .search(vec![query.to_vec()], K, EF, "")
        .await?
        .pop()
        .context("the search has no result")?;
    report.done(
        format!("milvus> search(limit={K}) gives ids {:?}", hits.ids),
        since,
    );
    ensure!(
        hits.ids == sql_ids,
        "SQL found {sql_ids:?}, the Milvus door {:?}",
        hits.ids
    );
    report.text("the ids are equal; the query (left) and what is nearest to it:");
    let nearest = sql_ids.iter().filter(|id| **id != QUERY as i64).take(3);
    let mut pictures = vec![query];
    for id in nearest {
        pictures.push(digits.image(usize::try_from(*id)?)?);
    }
    report.text(digits::draw(&pictures));

    report.heading("The plan of that search");
    let plan = plan_text(&sql(engine, &format!("EXPLAIN {search}")).await?, "physical_plan")?;
    ensure!(
        plan.contains("AnnSearchExec"),
        "the plan does not use the index:\n{plan}"
    );
    report.text(short(&plan));
    let measured = plan_text(
        &sql(engine, &format!("EXPLAIN ANALYZE {search}")).await?,
        "Plan with Metrics",
    )?;
    let search = measured
        .lines()
        .find(|line| line.contains("AnnSearchExec"))
        .context("no metrics of the search")?;
    ensure!(
        search.contains("strategy_graph=1"),
        "the graph was not walked: {search}"
    );
    let (_, metrics) = search
        .split_once("metrics=")
        .context("the search shows no metrics")?;
    report.text(format!("EXPLAIN ANALYZE says of AnnSearchExec: {metrics}"));
    Ok(())
}

/// A filter is part of the search: ten odd digits come back, not the odd ones among ten.
async fn filtered(
    engine: &Engine,
    report: &mut Report,
    client: &Client,
    query: &[f32],
) -> anyhow::Result<()> {
    report.heading("A filtered search");
    let search = format!(
        "SELECT id, label, vector <-> {} AS distance FROM digits WHERE label % 2 = 1 ORDER BY distance LIMIT {K}",
        literal(query)
    );
    report.statement(&short(&search));
    let since = Instant::now();
    let output = sql(engine, &search).await?;
    let sql_ids = ids(&output)?;
    ensure!(
        sql_ids.len() == K,
        "the filtered search found {} rows, not {K}",
        sql_ids.len()
    );
    report.done(format!("in SQL: ids {sql_ids:?}"), since);
    let since = Instant::now();
    let hits = client
        .search(vec![query.to_vec()], K, EF, "label % 2 == 1")
        .await?
        .pop()
        .context("the search has no result")?;
    ensure!(
        hits.ids == sql_ids,
        "SQL found {sql_ids:?}, the Milvus door {:?}",
        hits.ids
    );
    report.done("milvus> search(filter='label % 2 == 1') gives the same", since);
    Ok(())
}

/// Search results are rows like any others.
async fn grouped(engine: &Engine, report: &mut Report, query: &[f32]) -> anyhow::Result<()> {
    report.heading("GROUP BY over a search: which digits are the 100 nearest?");
    let statement = format!(
        "SELECT label, count(*) AS images, min(distance) AS nearest\n\
         FROM (SELECT label, vector <-> {} AS distance FROM digits ORDER BY distance LIMIT 100)\n\
         GROUP BY label ORDER BY images DESC, nearest",
        literal(query)
    );
    report.statement(&short(&statement));
    let since = Instant::now();
    let output = sql(engine, &statement).await?;
    report.text(table(&output)?);
    report.done("done", since);
    Ok(())
}

/// A classifier is one statement.
async fn classify(engine: &Engine, report: &mut Report) -> anyhow::Result<()> {
    report.heading("A 5-nearest-neighbours classifier in one statement");
    report.statement(CLASSIFY);
    let since = Instant::now();
    let output = sql(engine, CLASSIFY).await?;
    report.text(table(&output)?);
    let accuracy = single_number(&output, "accuracy")?;
    ensure!(
        accuracy > 0.95,
        "the classifier is right in {accuracy:.3} of the cases only"
    );
    report.done(
        format!("{:.1} % of the images are recognised", accuracy * 100.0),
        since,
    );
    Ok(())
}

/// How many of the true neighbours HNSW finds; truth is a plain loop over all vectors.
async fn recall(report: &mut Report, client: &Client, digits: &Digits) -> anyhow::Result<()> {
    report.heading("Recall of the index against exact search");
    let queries: Vec<Vec<f32>> = digits
        .images()
        .step_by(digits.len() / RECALL_QUERIES)
        .map(<[f32]>::to_vec)
        .collect();
    let vectors = Vectors::new(&digits.pixels, PIXELS)?;
    let mut farthest = Vec::with_capacity(queries.len());
    for query in &queries {
        let truth = exact_search(Metric::L2, vectors, query, K, None, &mut SearchStats::default());
        farthest.push(truth.last().context("exact search found nothing")?.distance);
    }
    for ef in [NARROW_EF, EF] {
        let since = Instant::now();
        let results = client.search(queries.clone(), K, ef, "").await?;
        let took = since.elapsed().as_secs_f64() * 1000.0;
        ensure!(
            results.len() == queries.len(),
            "{} results for {} queries",
            results.len(),
            queries.len()
        );
        let mut found = 0;
        for (farthest, hits) in farthest.iter().zip(&results) {
            let distinct: BTreeSet<i64> = hits.ids.iter().copied().collect();
            ensure!(distinct.len() == hits.ids.len(), "a row was returned twice");
            // Pixels are small integers, so that distances tie; any row as near as the true k-th is right.
            found += hits
                .scores
                .iter()
                .filter(|distance| *distance <= farthest)
                .count();
        }
        let recall = found as f64 / (queries.len() * K) as f64;
        report.text(format!(
            "milvus> search({} queries, limit={K}, ef={ef}): recall@{K} {recall:.4} ({took:.1} ms)",
            queries.len()
        ));
        ensure!(recall >= 0.95 || ef < EF, "recall is {recall:.4}, below 0.95");
    }
    Ok(())
}

/// Prints and runs a statement without rows.
async fn statement(engine: &Engine, report: &Report, text: &str) -> anyhow::Result<()> {
    report.statement(text);
    sql(engine, text).await?;
    Ok(())
}

async fn sql(engine: &Engine, text: &str) -> anyhow::Result<SqlOutput> {
    Box::pin(engine.sql(DATABASE, text))
        .await
        .with_context(|| format!("statement failed: {}", short(text)))
}

/// Index builds run in the background; SQL and Milvus find the rows meanwhile, only slower.
async fn wait_for_index(engine: &Engine) -> anyhow::Result<()> {
    let collection = engine.collections().collection(DATABASE, TABLE)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let index = collection
            .indexes()
            .into_iter()
            .next()
            .context("the index is gone")?;
        ensure!(
            index.fail_reason.is_empty(),
            "the index build failed: {}",
            index.fail_reason
        );
        if index.pending_rows == 0 && index.indexed_rows > 0 {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the index build takes too long: {index:?}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn table(output: &SqlOutput) -> anyhow::Result<String> {
    render(output)
}

fn ids(output: &SqlOutput) -> anyhow::Result<Vec<i64>> {
    let mut ids = Vec::new();
    for batch in &output.batches {
        let column = batch
            .column_by_name("id")
            .context("the result has no column id")?;
        let column = column
            .as_primitive_opt::<Int64Type>()
            .context("the column id is not BIGINT")?;
        ids.extend(column.values());
    }
    Ok(ids)
}

fn single_number(output: &SqlOutput, column: &str) -> anyhow::Result<f64> {
    let column = output
        .batches
        .iter()
        .find_map(|batch| batch.column_by_name(column))
        .context("no such column")?;
    let column = column
        .as_primitive_opt::<Float64Type>()
        .context("the column is not DOUBLE")?;
    ensure!(column.len() == 1 && column.is_valid(0), "one value was expected");
    Ok(column.value(0))
}

/// The plan of one kind among the rows of EXPLAIN.
fn plan_text(output: &SqlOutput, kind: &str) -> anyhow::Result<String> {
    for batch in &output.batches {
        let text = |name: &str| {
            batch
                .column_by_name(name)
                .and_then(|column| column.as_string_opt::<i32>())
        };
        let (kinds, plans) = text("plan_type")
            .zip(text("plan"))
            .context("EXPLAIN gave no plan")?;
        if let Some((_, plan)) = kinds.iter().zip(plans).find(|(found, _)| *found == Some(kind)) {
            return Ok(plan.unwrap_or_default().to_owned());
        }
    }
    bail!("EXPLAIN gave no {kind}")
}

/// A vector as SQL writes it.
fn literal(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("'[{}]'", numbers.join(","))
}

/// Text in which long vectors are cut after their first numbers.
fn short(text: &str) -> String {
    let mut shortened = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('[') {
        let Some(length) = rest.get(start..).and_then(|tail| tail.find(']')) else {
            break;
        };
        let (before, tail) = rest.split_at(start);
        let (list, after) = tail.split_at(length);
        shortened.push_str(before);
        if list.matches(',').count() >= PIXELS - 1 {
            let numbers: Vec<&str> = list.split(',').take(5).collect();
            shortened.push_str(&numbers.join(","));
            shortened.push_str(",..");
        } else {
            shortened.push_str(list);
        }
        rest = after;
    }
    shortened + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_vectors_are_cut() {
        let long = literal(&[0.0; PIXELS]);
        assert_eq!(
            short(&format!("a <-> {long} AS d, [1, 2]")),
            "a <-> '[0,0,0,0,0,..]' AS d, [1, 2]"
        );
        assert_eq!(short("no vector ["), "no vector [");
    }
}
