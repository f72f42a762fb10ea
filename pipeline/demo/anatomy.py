"""Where face, mouth, eyes and outline are in the two portraits, measured by hand in the original pictures."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Anatomy:
    """Where things are in a picture, in its pixels."""

    face: tuple[float, float, float]
    """Left, top and side of the square that a frontal-face detector gives."""
    crop: tuple[int, int, int, int]
    """x0, y0, x1, y1 of what is kept."""
    outline: tuple[tuple[int, int], ...]
    """Polygon around the person."""
    clothing_top: float
    """Below this row (and outside the skin) a colour change takes hold."""
    mouth: tuple[float, float, float]
    """Centre x, row of the line where the lips part (at the centre), half the width."""
    lip_rise: float
    """How far the corners of that line stand above its centre."""
    nose_y: float
    chin_y: float
    neck_y: float
    """Row below which the jaw moves nothing."""
    jaw_half_width: float
    gape: float
    """How far the lower lip drops at full opening."""
    upper_lip: float
    """Share of the gape by which the upper lip rises."""
    teeth: bool
    """Whether upper teeth are drawn (the other picture shows its own)."""
    eyes: tuple[tuple[float, float, float, float], ...]
    """Centre x, centre y, half width, half height of each eye."""
    lid_row: float
    """Row, relative to the eye's centre, whose skin closes the eye."""

    def on_canvas(self, scale: float) -> "Anatomy":
        """The same in the pixels of the crop, enlarged by `scale`; crop and outline stay in the picture's own."""
        x0, y0 = self.crop[:2]

        def at(x: float, y: float) -> tuple[float, float]:
            return (x - x0) * scale, (y - y0) * scale

        return replace(
            self,
            face=(*at(*self.face[:2]), self.face[2] * scale),
            clothing_top=(self.clothing_top - y0) * scale,
            mouth=(*at(*self.mouth[:2]), self.mouth[2] * scale),
            lip_rise=self.lip_rise * scale,
            nose_y=(self.nose_y - y0) * scale,
            chin_y=(self.chin_y - y0) * scale,
            neck_y=(self.neck_y - y0) * scale,
            jaw_half_width=self.jaw_half_width * scale,
            gape=self.gape * scale,
            eyes=tuple((*at(x, y), width * scale, height * scale) for x, y, width, height in self.eyes),
            lid_row=self.lid_row * scale,
        )


COLLINS = Anatomy(
    face=(177, 66, 96),
    crop=(40, 0, 410, 330),
    outline=(
        (172, 120), (160, 106), (155, 90), (156, 72), (164, 53), (181, 38), (199, 26), (216, 20), (236, 18), (257, 22),
        (276, 34), (288, 51), (295, 71), (299, 86), (296, 104), (288, 117), (278, 129), (269, 134), (264, 141),
        (261, 150), (256, 159), (253, 167), (252, 175), (260, 179), (281, 197), (297, 212), (303, 228), (304, 238),
        (318, 244), (335, 256),
        (350, 282), (358, 315), (364, 350), (400, 346), (440, 352), (480, 400), (500, 512), (20, 512), (20, 400),
        (27, 353), (39, 308), (48, 280), (78, 242), (113, 210), (115, 192), (121, 180), (132, 166), (150, 154),
        (170, 150), (184, 151), (183, 132), (176, 129),
    ),
    clothing_top=180,
    mouth=(224.5, 149.5, 23),
    lip_rise=9,
    nose_y=134,
    chin_y=177,
    neck_y=236,
    jaw_half_width=50,
    gape=21,
    upper_lip=0.06,
    teeth=False,
    eyes=((203, 101, 12, 6.5), (246.5, 103, 12, 6.5)),
    lid_row=8.5,
)  # fmt: skip
HOPPER = Anatomy(
    face=(155, 105, 222),
    crop=(0, 0, 512, 600),
    outline=(
        (152, 178), (150, 150), (151, 105), (160, 92), (177, 82), (192, 58), (215, 43), (226, 32), (260, 25),
        (300, 32), (320, 47), (344, 67), (355, 88), (364, 91), (369, 112), (370, 150), (367, 182), (374, 192),
        (372, 215), (364, 245), (358, 268), (359, 280), (352, 296), (339, 304), (331, 306), (331, 318), (347, 333),
        (372, 348), (401, 359), (440, 374), (478, 390), (490, 397), (499, 417), (507, 442), (512, 455), (512, 600),
        (12, 600), (22, 500), (30, 440), (37, 402), (62, 382), (102, 367), (151, 352), (181, 337), (201, 318),
        (197, 300), (178, 288), (166, 274), (167, 256), (159, 235), (155, 210), (156, 192),
    ),
    clothing_top=322,
    mouth=(268, 280, 41),
    lip_rise=-1,
    nose_y=252,
    chin_y=326,
    neck_y=430,
    jaw_half_width=88,
    gape=44,
    upper_lip=0.12,
    teeth=True,
    eyes=((222, 190, 22, 11), (306, 188, 22, 11)),
    lid_row=13,
)  # fmt: skip
