"""Capitals of countries. Countries whose capital is disputed, moved of late or has their name are
left out, and so are those with the name of a state elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.tasks.choosing import listed
from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.short import WordAnswer

CAPITALS = {
    "Albania": "Tirana", "Algeria": "Algiers", "Angola": "Luanda", "Argentina": "Buenos Aires",
    "Armenia": "Yerevan", "Australia": "Canberra", "Austria": "Vienna", "Azerbaijan": "Baku",
    "Bahrain": "Manama", "Bangladesh": "Dhaka", "Barbados": "Bridgetown", "Belarus": "Minsk",
    "Belgium": "Brussels", "Belize": "Belmopan", "Bhutan": "Thimphu", "Botswana": "Gaborone",
    "Brazil": "Brasilia", "Bulgaria": "Sofia", "Burkina Faso": "Ouagadougou",
    "Cambodia": "Phnom Penh", "Cameroon": "Yaounde", "Canada": "Ottawa",
    "Chad": "N'Djamena", "Chile": "Santiago", "China": "Beijing", "Colombia": "Bogota",
    "Croatia": "Zagreb", "Cuba": "Havana", "Cyprus": "Nicosia", "Denmark": "Copenhagen",
    "Ecuador": "Quito", "Egypt": "Cairo", "Eritrea": "Asmara", "Estonia": "Tallinn",
    "Ethiopia": "Addis Ababa", "Fiji": "Suva", "Finland": "Helsinki", "France": "Paris",
    "Gabon": "Libreville", "Germany": "Berlin", "Ghana": "Accra",
    "Greece": "Athens", "Guinea": "Conakry", "Guyana": "Georgetown", "Haiti": "Port-au-Prince",
    "Honduras": "Tegucigalpa", "Hungary": "Budapest", "Iceland": "Reykjavik",
    "India": "New Delhi", "Iran": "Tehran", "Iraq": "Baghdad", "Ireland": "Dublin",
    "Italy": "Rome", "Jamaica": "Kingston", "Japan": "Tokyo", "Jordan": "Amman",
    "Kenya": "Nairobi", "Kyrgyzstan": "Bishkek", "Laos": "Vientiane", "Latvia": "Riga",
    "Lebanon": "Beirut", "Liberia": "Monrovia", "Libya": "Tripoli", "Lithuania": "Vilnius",
    "Madagascar": "Antananarivo", "Malawi": "Lilongwe", "Malaysia": "Kuala Lumpur",
    "Mali": "Bamako", "Malta": "Valletta", "Mauritania": "Nouakchott", "Mauritius": "Port Louis",
    "Moldova": "Chisinau", "Mongolia": "Ulaanbaatar", "Montenegro": "Podgorica",
    "Morocco": "Rabat", "Mozambique": "Maputo", "Namibia": "Windhoek", "Nepal": "Kathmandu",
    "New Zealand": "Wellington", "Nicaragua": "Managua", "Niger": "Niamey", "Nigeria": "Abuja",
    "North Korea": "Pyongyang", "North Macedonia": "Skopje", "Norway": "Oslo", "Oman": "Muscat",
    "Pakistan": "Islamabad", "Paraguay": "Asuncion", "Peru": "Lima", "Philippines": "Manila",
    "Poland": "Warsaw", "Portugal": "Lisbon", "Qatar": "Doha", "Romania": "Bucharest",
    "Russia": "Moscow", "Rwanda": "Kigali", "Samoa": "Apia", "Saudi Arabia": "Riyadh",
    "Senegal": "Dakar", "Serbia": "Belgrade", "Slovakia": "Bratislava", "Slovenia": "Ljubljana",
    "Somalia": "Mogadishu", "South Korea": "Seoul", "Spain": "Madrid", "Sudan": "Khartoum",
    "Sweden": "Stockholm", "Syria": "Damascus", "Tajikistan": "Dushanbe", "Thailand": "Bangkok",
    "Togo": "Lome", "Tunisia": "Tunis", "Turkey": "Ankara", "Uganda": "Kampala",
    "Ukraine": "Kyiv", "United Kingdom": "London", "United States": "Washington",
    "Uruguay": "Montevideo", "Uzbekistan": "Tashkent", "Venezuela": "Caracas",
    "Vietnam": "Hanoi", "Yemen": "Sanaa", "Zambia": "Lusaka", "Zimbabwe": "Harare",
}  # fmt: skip
SPELLINGS = {
    "Ukraine": ("Kiev",),
    "United States": ("Washington, D.C.", "Washington DC"),
    "Mongolia": ("Ulan Bator",),
    "Yemen": ("Sana'a",),
    "Belarus": ("Mensk",),
}
WITH_ARTICLE = ("Philippines", "United Kingdom", "United States")
LARGEST = listed(
    """
    Sydney Melbourne Istanbul Lagos Karachi Toronto Auckland Mumbai Shanghai Casablanca Rio Zurich
    Geneva Johannesburg Barcelona Milan Munich Hamburg Marseille Lyon Osaka Dubai Tel-Aviv Almaty
    Naples Porto Antwerp Krakow Montreal Vancouver Guayaquil Aleppo
    """
)
"""Cities that are no capitals and that are taken for one."""


class Capitals(PromptTask):
    name = "capitals"

    def problems(self) -> Iterator[Problem]:
        others = (*CAPITALS.values(), *LARGEST, "New York")
        for country, capital in CAPITALS.items():
            named = f"the {country}" if country in WITH_ARTICLE else country
            right = (capital, *SPELLINGS.get(country, ()))
            for prompt in (
                f"What is the capital of {named}?",
                f"Name the capital city of {named}. Answer with the name only.",
            ):
                yield Problem(prompt, country, WordAnswer(right, prompt, rivals=others), capital)
