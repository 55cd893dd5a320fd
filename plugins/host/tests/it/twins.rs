//! The examples once more, as plain functions in 64-bit floats: what the plugins are compared with.

use std::collections::BTreeSet;

/// Maximal marginal relevance over cosines: the chosen candidates, with their scores.
pub fn mmr(query: &[f32], vectors: &[f32], lambda: f64, limit: usize) -> Vec<(u32, f64)> {
    let rows: Vec<&[f32]> = vectors.chunks(query.len()).collect();
    let mut chosen: Vec<(u32, f64)> = Vec::new();
    while chosen.len() < limit.min(rows.len()) {
        let mut best: Option<(u32, f64)> = None;
        for (at, row) in (0..).zip(&rows) {
            if chosen.iter().any(|(other, _)| *other == at) {
                continue;
            }
            let nearest = chosen
                .iter()
                .map(|(other, _)| cosine(row, rows[*other as usize]))
                .reduce(f64::max);
            let score = lambda * cosine(query, row) - (1.0 - lambda) * nearest.unwrap_or(0.0);
            if best.is_none_or(|(_, leading)| score > leading) {
                best = Some((at, score));
            }
        }
        chosen.extend(best);
    }
    chosen
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum::<f64>()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

pub fn relevance(distance: f32) -> f64 {
    let distance = f64::from(distance);
    if distance < 0.0 {
        1.0 - distance
    } else {
        1.0 / (1.0 + distance)
    }
}

/// Relevance that halves with every half-life.
pub fn recency(distance: f32, time: Option<i64>, now: f64, half_life: f64, weight: f64) -> f64 {
    let left = time.map_or(0.0, |time| 0.5_f64.powf((now - time as f64).max(0.0) / half_life));
    relevance(distance) * (1.0 - weight + weight * left)
}

/// Relevance mixed with the share of the query's words.
pub fn lexical(distance: f32, query: &str, text: &str, weight: f64) -> f64 {
    let (query, text) = (words(query), words(text));
    let share = query.intersection(&text).count() as f64 / query.len().max(1) as f64;
    (1.0 - weight) * relevance(distance) + weight * share
}

fn words(text: &str) -> BTreeSet<String> {
    let text: String = text
        .chars()
        .map(|character| {
            if character.is_alphanumeric() {
                character
            } else {
                ' '
            }
        })
        .collect();
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Kilometres on a sphere, by the angle between two vectors.
pub fn haversine([latitude1, longitude1, latitude2, longitude2]: [f64; 4]) -> f64 {
    let place = |latitude: f64, longitude: f64| {
        let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
        [
            latitude.cos() * longitude.cos(),
            latitude.cos() * longitude.sin(),
            latitude.sin(),
        ]
    };
    let ([x1, y1, z1], [x2, y2, z2]) = (place(latitude1, longitude1), place(latitude2, longitude2));
    let cross = [y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2];
    let sine = cross.iter().map(|part| part * part).sum::<f64>().sqrt();
    6371.0088 * sine.atan2(x1 * x2 + y1 * y2 + z1 * z2)
}
