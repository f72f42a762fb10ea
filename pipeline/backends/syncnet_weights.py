"""Where SyncNet's weights are published. Apart from the network, so that a list of weights imports no torch."""

from pipeline.weights.weight import Weight, WeightFile

WEIGHTS = (
    Weight(
        name="syncnet-v2",
        source="https://www.robots.ox.ac.uk/~vgg/software/lipsync/",
        licence="not stated",
        licence_note="the publisher states no licence for the weights; the code they come with is MIT",
        files=(
            WeightFile(
                path="syncnet_v2.model",
                url="https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
                sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
                size=None,
            ),
        ),
    ),
)
