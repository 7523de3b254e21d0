//! What an observer of the forward pass sees, on every architecture.

use crate::architectures::{folders, golden, load};
use apr_model::{Observer, Point};

/// What was seen: layer, point and rows.
type Seen = Vec<(Option<usize>, Point, Vec<f32>)>;

fn observe(model: &apr::TextModel, tokens: &[u32]) -> (Seen, Vec<f32>) {
    let mut seen = Seen::new();
    let mut cache = model.decoder().cache(tokens.len()).unwrap();
    let hidden = model.decoder().forward_observed(&mut cache, tokens, &mut |layer, point, rows| {
        seen.push((layer, point, rows.to_vec()));
    });
    (seen, hidden.unwrap())
}

#[test]
fn what_is_seen_is_what_is_computed() {
    for folder in folders() {
        let (tokens, _) = golden(&folder);
        let model = load(&folder);
        let (seen, hidden) = observe(&model, &tokens);
        let mut cache = model.decoder().cache(tokens.len()).unwrap();
        assert_eq!(hidden, model.decoder().forward(&mut cache, &tokens).unwrap());
        let config = model.decoder().config();
        let of = |layer: usize, point: Point| {
            seen.iter().find(|(l, p, _)| (*l, *p) == (Some(layer), point)).map(|(_, _, rows)| rows)
        };
        assert_eq!((seen[0].0, seen[0].1), (None, Point::Embedding));
        assert_eq!(seen.last().unwrap(), &(None, Point::FinalNorm, hidden));
        let mut stream = &seen[0].2;
        for layer in 0..config.layers {
            // The residual stream is the sum of what was seen to be added to it.
            for (sum, added) in [
                (Point::AttentionSum, [Point::PostAttentionNorm, Point::AttentionOutput]),
                (Point::LayerOutput, [Point::PostMlpNorm, Point::MlpOutput]),
            ] {
                let added = of(layer, added[0]).or_else(|| of(layer, added[1])).unwrap();
                let sum = of(layer, sum).unwrap();
                let expected: Vec<f32> = stream.iter().zip(added).map(|(a, b)| a + b).collect();
                assert_eq!(*sum, expected, "{} layer {layer}", folder.display());
                stream = sum;
            }
            for (point, elems) in [
                (Point::Query, config.heads * config.head_dim),
                (Point::Key, config.kv_size()),
                (Point::Value, config.kv_size()),
                (Point::Attended, config.heads * config.head_dim),
            ] {
                assert_eq!(of(layer, point).unwrap().len(), tokens.len() * elems);
            }
            assert_eq!(of(layer, Point::RotatedKey).is_some(), config.rope.is_some());
        }
    }
}

#[test]
fn what_an_observer_writes_is_what_the_next_operation_reads() {
    let folder = folders().remove(0);
    let (tokens, _) = golden(&folder);
    let model = load(&folder);
    let (seen, hidden) = observe(&model, &tokens);
    let mut cache = model.decoder().cache(tokens.len()).unwrap();
    let run = |cache: &mut _, change: &mut Observer<'_>| {
        model.decoder().forward_observed(cache, &tokens, change).unwrap()
    };
    let changed = run(&mut cache, &mut |layer, point, rows| {
        if (layer, point) == (Some(0), Point::AttentionOutput) {
            rows.fill(1.0);
        }
    });
    assert_ne!(changed, hidden);
    // Every output put back, nothing is left of the change.
    cache.clear();
    let mut right = seen.iter();
    let restored = run(&mut cache, &mut |layer, point, rows| {
        if (layer, point) == (Some(0), Point::AttentionOutput) {
            rows.fill(1.0);
        }
        let (_, _, expected) = right.next().unwrap();
        if point >= Point::PostAttentionNorm {
            rows.copy_from_slice(expected);
        }
    });
    assert_eq!(restored, hidden);
}
